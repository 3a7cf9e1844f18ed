"""Server reflection (``grpc.reflection.v1`` and ``v1alpha``): finding a live server and asking for its descriptors.

The two versions have the same messages on the wire; they differ in the service's name alone.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Any

# gRPC's core would write its own lines, with addresses in them, to standard error; it reads this when it is loaded.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc
import grpc.aio
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message import DecodeError
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

from bridge.api import BindError, Fault, Tls, Unreachable
from bridge_grpc.schema.conversation import MAX_BYTES, Conversation, TooMuch, listed

VERSIONS = ("grpc.reflection.v1", "grpc.reflection.v1alpha")
#: Seconds for finding, connecting and asking together.
PATIENCE = 4.0
_OWN = frozenset(f"{version}.ServerReflection" for version in VERSIONS)


class _Unserved(Exception):
    """The server has no reflection of this version."""


async def reflect(
    addresses: Sequence[tuple[str, int]],
    name: str,
    *,
    tls: Tls | None = None,
    key: str = "transform.grpc.reflection",
) -> tuple[FileDescriptorSet, list[str]]:
    """All files that the services of `name` need, and the services' full names (less reflection's own).

    The addresses are tried in turn, for `PATIENCE` seconds in all: a service that starts beside the gateway may be a
    moment late.

    :raises Unreachable: nothing answers in time, or not with descriptors.
    :raises BindError: what answers has no reflection, or says more of itself than any schema.
    """
    if not addresses:
        raise Unreachable(Fault(f"{name} has no live address, so its schema can't be asked for", key))
    reason = ""
    kind: type[BindError] = Unreachable
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE
    for at, (host, port) in enumerate(addresses):
        options: list[tuple[str, Any]] = [
            ("grpc.max_receive_message_length", MAX_BYTES),
            ("grpc.enable_http_proxy", 0),
            ("grpc.service_config_disable_resolution", 1),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 1000),
            ("grpc.max_reconnect_backoff_ms", 500),
        ]
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        if tls is not None:
            options.append(("grpc.ssl_target_name_override", tls.server_name or name.partition(":")[0]))
            credentials = grpc.ssl_channel_credentials(tls.authorities(), tls.key, tls.certificate)
            channel = grpc.aio.secure_channel(target, credentials, options)
        else:
            channel = grpc.aio.insecure_channel(target, options)
        try:
            async with asyncio.timeout((deadline - loop.time()) / (len(addresses) - at)):
                await channel.channel_ready()
                return await _ask(channel)
        except TimeoutError:
            reason = f"it did not answer within {PATIENCE:g} s"
        except _Unserved:
            kind = BindError
            reason = "it answers, but offers no server reflection; use protos or a descriptor_set"
        except TooMuch as error:
            kind = BindError
            reason = f"it says too much of itself: {error}"
        except grpc.aio.AioRpcError as error:
            reason = f"it answered {error.code().name}: {error.details() or 'no reason given'}"
        except (DecodeError, ValueError) as error:
            reason = f"what it sent as its schema can't be read ({error})"
        finally:
            await channel.close()
    raise kind(Fault(f"the schema of {name} can't be had by reflection: {reason}", key))


async def _ask(channel: grpc.aio.Channel) -> tuple[FileDescriptorSet, list[str]]:
    for version in VERSIONS:
        path = f"/{version}.ServerReflection/ServerReflectionInfo"
        serialise, parse = ServerReflectionRequest.SerializeToString, ServerReflectionResponse.FromString
        # Written as a stream, the first question could come too late for a server that refuses at once, and grpc would
        # tell of the failed write instead of the refusal.
        listing = channel.unary_stream(path, serialise, parse)(ServerReflectionRequest(list_services="*"))
        try:
            services = [name for name in listed(await listing.read()) if name not in _OWN]
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
                raise
            continue
        finally:
            listing.cancel()
        call = channel.stream_stream(path, serialise, parse)()
        try:
            return await Conversation(call).files(services), services
        finally:
            call.cancel()
    raise _Unserved
