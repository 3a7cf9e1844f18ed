"""Where registered routes and API keys live."""
