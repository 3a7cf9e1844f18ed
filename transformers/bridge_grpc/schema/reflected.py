"""What live servers said of themselves when routes were bound to it, and whether they say something else now."""

from __future__ import annotations

import asyncio
import hashlib
import weakref
from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from bridge.api import BindError, Context, RouteSpec
from bridge_grpc.schema.sources import from_server, tls_of

#: Seconds for which an answer, or the lack of one, is as good as a new one: routes of one server are bound together.
FRESH = 1.0


@dataclass(frozen=True, slots=True)
class Reflection:
    """One answer of a server.

    :ivar digest: the same for the same files and services, in whatever order they came.
    :ivar at: when it came, in the loop's time.
    """

    files: FileDescriptorSet
    services: Sequence[str]
    digest: bytes
    at: float


@dataclass(frozen=True, slots=True)
class _Refusal:
    error: BindError
    at: float


class _Server:
    """The last answer of one server, connected to in one way. Only one question is under way at a time."""

    def __init__(self) -> None:
        self._asking = asyncio.Lock()
        self._last: Reflection | _Refusal | None = None

    async def ask(self, route: RouteSpec, context: Context, within: float) -> Reflection:
        loop = asyncio.get_running_loop()
        async with self._asking:
            last = self._last
            if last is None or loop.time() - last.at >= within:
                # Not kept: what one route may not read, another may.
                tls = await tls_of(route, context)
                try:
                    files, services = await from_server(route, context, tls)
                    digest = await asyncio.to_thread(_digest, files, services)
                    last = Reflection(files, services, digest, loop.time())
                except BindError as error:
                    last = _Refusal(error, loop.time())
                self._last = last
        if isinstance(last, _Refusal):
            raise type(last.error)(last.error.faults)
        return last


@dataclass(slots=True)
class _Bound:
    """What a route is bound to. `seen` is when the last answer came that its registry has been told of."""

    digest: bytes
    seen: float


class Reflected:
    """The servers that routes were bound to, and what each route was bound to."""

    def __init__(self) -> None:
        self._servers: dict[str, _Server] = {}
        # By identity: two readings of one spec file are two specs, and only one of them serves.
        self._bound: dict[int, _Bound] = {}

    async def ask(self, route: RouteSpec, context: Context, within: float | None = None) -> Reflection:
        """What the server of `route` says of itself; it is asked when it was not within the last `within` seconds
        (`FRESH`).

        :raises bridge.api.Unreachable: nobody answers.
        :raises bridge.api.BindError: what answers has no reflection.
        """
        name = f"{route.upstream} {route.connection.model_dump_json()}"
        return await self._servers.setdefault(name, _Server()).ask(route, context, FRESH if within is None else within)

    def bound(self, route: RouteSpec, to: Reflection) -> None:
        """Remember what `route` is bound to, for as long as it lives."""
        key = id(route)
        if key not in self._bound:
            weakref.finalize(route, self._bound.pop, key, None)
        self._bound[key] = _Bound(to.digest, to.at)

    async def changed(self, route: RouteSpec, every: float, context: Context) -> bool:
        """Whether its server says something else than what `route` is bound to. True once for each answer, so that what
        can't be bound is tried again when the server is asked again, which is every `every` seconds. One that can't be
        reached has not changed."""
        bound = self._bound.get(id(route))
        if bound is None:
            return False
        try:
            last = await self.ask(route, context, every)
        except BindError:
            return False
        if last.at == bound.seen or last.digest == bound.digest:
            return False
        bound.seen = last.at
        return True


def _digest(files: FileDescriptorSet, services: Sequence[str]) -> bytes:
    digest = hashlib.sha256("\n".join(sorted(services)).encode())
    for file in sorted(files.file, key=lambda file: file.name):
        digest.update(file.SerializeToString(deterministic=True))
    return digest.digest()
