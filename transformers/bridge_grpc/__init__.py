"""The transformer for gRPC services: JSON and ``google.api.http`` in front, protobuf behind.

`Grpc` is the entry point ``grpc``. A route's descriptors, rules and codecs are compiled when the route is bound.
"""

from bridge_grpc.options import GrpcOptions
from bridge_grpc.transformer import Grpc

__all__ = ["Grpc", "GrpcOptions"]
