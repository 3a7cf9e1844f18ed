"""What live servers said of themselves when routes were bound to it, and whether they say something else now."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from bridge import BindError, Context, RouteSpec, Upstream
from bridge_grpc.schema.sources import from_server

Name = tuple[str | None, str, str]


@dataclass(frozen=True, slots=True)
class Reflection:
    """One answer of a server.

    :ivar digest: the same for the same files and services, in whatever order they came.
    :ivar at: when it was asked, in the loop's time.
    """

    files: FileDescriptorSet
    services: Sequence[str]
    digest: bytes
    at: float


class Reflected:
    """The last answer of each server, and the one that each route is bound to."""

    def __init__(self) -> None:
        self._last: dict[Name, Reflection] = {}
        self._asked: dict[Name, float] = {}
        self._bound: dict[tuple[str | None, str, Name], bytes] = {}

    async def ask(self, route: RouteSpec, context: Context) -> Reflection:
        """Ask the server of `route` now.

        :raises bridge.Unreachable: nobody answers.
        :raises bridge.BindError: what answers has no reflection.
        """
        now = asyncio.get_running_loop().time()
        self._asked[_name(route.upstream)] = now
        files, services = await from_server(route, context)
        made = Reflection(files, services, _digest(files, services), now)
        self._last[_name(route.upstream)] = made
        return made

    def bound(self, route: RouteSpec, to: Reflection) -> None:
        """Remember what `route` is bound to."""
        self._bound[_key(route)] = to.digest

    async def changed(self, route: RouteSpec, every: float, context: Context) -> bool:
        """Whether its server says something else than what `route` is bound to. The server is asked when it was not
        within `every` seconds; one that can't be reached has not changed."""
        name, known = _name(route.upstream), self._bound.get(_key(route))
        if known is None:
            return False
        if asyncio.get_running_loop().time() - self._asked.get(name, float("-inf")) >= every:
            try:
                await self.ask(route, context)
            except BindError:
                return False
        last = self._last.get(name)
        return last is not None and last.digest != known


def _name(upstream: Upstream) -> Name:
    return upstream.scheme, upstream.name, upstream.port


def _key(route: RouteSpec) -> tuple[str | None, str, Name]:
    return route.host, route.route, _name(route.upstream)


def _digest(files: FileDescriptorSet, services: Sequence[str]) -> bytes:
    digest = hashlib.sha256("\n".join(sorted(services)).encode())
    for file in sorted(files.file, key=lambda file: file.name):
        digest.update(file.SerializeToString(deterministic=True))
    return digest.digest()
