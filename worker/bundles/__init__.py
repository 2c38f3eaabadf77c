"""Readers that turn a directory or an archive into a bundle."""
