"""A fleet on the command line: all of its targets at once, or one of them as if the settings named it."""
