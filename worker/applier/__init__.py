"""Runs one migration on the locked connection, in every mode, and records it in the same transaction."""
