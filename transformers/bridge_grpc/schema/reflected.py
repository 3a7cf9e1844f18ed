"""Schemas from live servers: each server is queried once for all routes that name it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from bridge.api import BindError, Context, RouteSpec, read_tls
from bridge_grpc.schema.reflection import reflect

#: Seconds for which a reply or failure is reused: routes of one server are bound together.
FRESH = 1.0


@dataclass(frozen=True, slots=True)
class Reflection:
    """One reply of a server.

    :ivar digest: the same for the same files and services, in any order.
    """

    files: FileDescriptorSet
    services: Sequence[str]
    digest: bytes


class _Server:
    """The last reply of one server over one kind of connection. Only one request is made at a time."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._last: Reflection | BindError | None = None
        self._at = 0.0

    async def ask(self, route: RouteSpec, context: Context, max_age: float) -> Reflection:
        clock = asyncio.get_running_loop().time
        async with self._lock:
            if self._last is None or clock() - self._at >= max_age:
                self._last = await _ask(route, context)
                self._at = clock()
            if isinstance(self._last, BindError):
                raise type(self._last)(self._last.faults)
            return self._last


class Servers:
    """The servers that routes of one gateway name."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._servers: dict[str, _Server] = {}

    async def ask(self, route: RouteSpec, max_age: float = FRESH) -> Reflection:
        """The schema that the server of `route` describes.

        :param max_age: age in seconds up to which an earlier reply is reused.
        :raises bridge.api.Unreachable: the server can't be reached.
        :raises bridge.api.BindError: the server doesn't support reflection.
        """
        name = f"{route.upstream} {route.connection.model_dump_json()}"
        return await self._servers.setdefault(name, _Server()).ask(route, self._context, max_age)


async def _ask(route: RouteSpec, context: Context) -> Reflection | BindError:
    """:raises bridge.api.BindError: a TLS file of the route can't be read or isn't allowed."""
    upstream, tls = route.upstream, None
    if upstream.scheme == "grpcs":
        tls = await asyncio.to_thread(read_tls, route.connection, context.proto_dir.parent)
    try:
        files, services = await reflect(context.call, upstream.name, upstream.port, tls=tls)
    except BindError as error:
        return error
    return Reflection(files, services, await asyncio.to_thread(_digest, files, services))


def _digest(files: FileDescriptorSet, services: Sequence[str]) -> bytes:
    digest = hashlib.sha256("\n".join(sorted(services)).encode())
    for file in sorted(files.file, key=lambda file: file.name):
        digest.update(file.SerializeToString(deterministic=True))
    return digest.digest()
