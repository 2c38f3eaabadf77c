"""The worker's HTTP face: probes, metrics and status; nothing here changes state."""
