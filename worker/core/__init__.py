"""The decisions, and nothing else: no await, no clock, no randomness, no third-party import."""
