"""The doctor: checks of live databases, which it does not change."""
