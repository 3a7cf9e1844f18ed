"""WS-Policy: what a service asks for beyond its messages."""
