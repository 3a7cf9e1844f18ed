"""What is published, as OpenAPI 3.1: an operation's part and the JSON Schemas of its messages."""
