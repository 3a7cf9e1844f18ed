"""What a route's `connection` is in the words of gRPC's core: channel arguments."""

from __future__ import annotations

from typing import Any

import grpc

from bridge.spec import Connection

WINDOW = 512 * 1024  #: bytes of one call that a service may send before they are read
ANSWER = 20_000  #: milliseconds that the answer to a PING may take

COMPRESSION = {None: None, "gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate}


def channel_options(connection: Connection, name: str, *, secure: bool, max_reply: int) -> list[tuple[str, Any]]:
    """:param name: what the service goes by; ``""`` for its address."""
    keepalive = int(connection.keepalive * 1000)
    options: list[tuple[str, Any]] = [
        ("grpc.max_receive_message_length", min(max_reply, connection.max_message or max_reply)),
        # Without a word of the route's, the gateway's own bound of request bodies is enough.
        ("grpc.max_send_message_length", connection.max_message or -1),
        ("grpc.enable_http_proxy", 0),
        ("grpc.service_config_disable_resolution", 1),
        # A channel that is made anew must not inherit the back-off of the one before it.
        ("grpc.use_local_subchannel_pool", 1),
        # The core would widen the window to what the network can hold, and keep all of that for a slow client.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", WINDOW),
        # Only within calls, which every server allows every five minutes; a stream may be silent for hours.
        ("grpc.keepalive_time_ms", keepalive),
        # The core waits for the answer as long as the second says, which would be a minute.
        ("grpc.keepalive_timeout_ms", min(ANSWER, keepalive)),
        ("grpc.http2.ping_timeout_ms", min(ANSWER, keepalive)),
        ("grpc.http2.max_pings_without_data", 0),
    ]
    if connection.max_metadata is not None:
        options += [
            ("grpc.max_metadata_size", connection.max_metadata),
            ("grpc.absolute_max_metadata_size", connection.max_metadata),
        ]
    if name:
        options.append(("grpc.default_authority", name))
        if secure:
            options.append(("grpc.ssl_target_name_override", name))
    return options
