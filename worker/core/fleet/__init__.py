"""A fleet: what its file declares, what its targets are called, and how much of it is done at once."""
