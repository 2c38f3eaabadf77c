"""The settings: flags over environment over defaults, read once into one frozen value."""
