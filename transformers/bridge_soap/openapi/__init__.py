"""OpenAPI 3.1 descriptions of operations."""
