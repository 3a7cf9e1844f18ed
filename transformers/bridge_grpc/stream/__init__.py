"""Streams of messages as JSON: how a client writes them and how it wants them. Sans-IO."""
