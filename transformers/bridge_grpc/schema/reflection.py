"""Server reflection (``grpc.reflection.v1`` and ``v1alpha``): reads a live server's descriptors.

The two versions have the same messages on the wire; only the service's name differs.
"""

from __future__ import annotations

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message import DecodeError
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest

from bridge.api import BindError, Fault, GrpcCall, KeyPath, OpenStream, Tls, Unreachable
from bridge_grpc.schema.conversation import MAX_BYTES, Conversation, SchemaLimitError, ServerStatusError, list_services
from bridge_grpc.status import CODES

VERSIONS = ("grpc.reflection.v1", "grpc.reflection.v1alpha")
#: Seconds for the lookup, the connection and all requests.
TIMEOUT = 4.0
UNIMPLEMENTED = 12
_OWN = frozenset(f"{version}.ServerReflection" for version in VERSIONS)


class NoReflectionError(Exception):
    """The server offers no version of reflection."""


async def reflect(
    call: GrpcCall, name: str, port: str, *, tls: Tls | None = None, key: KeyPath = ("transform", "grpc", "reflection")
) -> tuple[FileDescriptorSet, list[str]]:
    """All files that the services at `name` need, and the services' full names (without reflection's own).

    :raises Unreachable: there is no reply in time, or none with descriptors.
    :raises BindError: the server doesn't support reflection, or its schema exceeds a limit.
    """
    kind: type[BindError] = Unreachable
    try:
        return await call(name, port, _ask, tls=tls, timeout=TIMEOUT, max_message=MAX_BYTES)
    except Unreachable as error:
        reason = error.faults[0].reason
    except NoReflectionError:
        kind, reason = BindError, "it answers, but offers no server reflection; use protos or a descriptor_set"
    except SchemaLimitError as error:
        kind, reason = BindError, f"it says too much of itself: {error}"
    except ServerStatusError as error:
        reason = f"it answered {CODES.get(error.code, CODES[2])[0]}: {error}"
    except (DecodeError, ValueError) as error:
        reason = f"what it sent as its schema can't be read ({error})"
    raise kind(Fault(f"the schema of {name}:{port} can't be had by reflection: {reason}", key))


async def _ask(open_stream: OpenStream) -> tuple[FileDescriptorSet, list[str]]:
    for version in VERSIONS:
        path = f"/{version}.ServerReflection/ServerReflectionInfo"
        listing = await open_stream(path)
        # In a separate call that is half-closed at once: some servers reply only then.
        await listing.write(ServerReflectionRequest(list_services="*").SerializeToString())
        await listing.end()
        try:
            services = [name for name in await list_services(listing) if name not in _OWN]
        except ServerStatusError as error:
            if error.code != UNIMPLEMENTED:
                raise
            continue
        return await Conversation(await open_stream(path)).files(services), services
    raise NoReflectionError
