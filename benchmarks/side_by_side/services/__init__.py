"""What stands behind every gateway: an HTTP and a gRPC service, cheap enough not to be what is measured."""
