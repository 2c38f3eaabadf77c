"""What a run decides while it waits, and what it finds after an interruption."""
