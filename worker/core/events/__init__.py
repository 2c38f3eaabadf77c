"""What is told: each event is a class, its fields are the fields of the log line."""
