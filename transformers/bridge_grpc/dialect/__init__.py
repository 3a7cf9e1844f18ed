"""gRPC-Web and Connect beside JSON: other clients' protocols on the automatic paths. Sans-IO."""
