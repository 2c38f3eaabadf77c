"""One job, from the look without a lock to the readiness row."""
