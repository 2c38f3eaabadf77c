"""What a database shows of itself: the snapshot and the documents made from it."""
