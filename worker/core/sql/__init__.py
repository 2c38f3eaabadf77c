"""SQL text: tokens, statements, segments, and the locks that a statement takes."""
