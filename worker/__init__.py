"""Tidegate: brings a Postgres schema up to the level that an application needs, then opens the gate."""

__version__ = "0.1.0"
