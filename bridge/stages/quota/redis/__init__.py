"""Limits that several gateways share, counted in Redis."""
