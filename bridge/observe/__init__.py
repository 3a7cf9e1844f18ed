"""What the gateway tells of itself: the access log, metrics, trace ids."""
