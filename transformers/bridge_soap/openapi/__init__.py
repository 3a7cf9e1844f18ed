"""What an operation looks like in an OpenAPI 3.1 document."""
