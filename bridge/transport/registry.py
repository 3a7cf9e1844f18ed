"""Entry points -> transports. The built-in ones are registered like a plug-in's::

[project.entry-points."bridge.transports"]
smoke = "smoke_package:Smoke"
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points

from bridge.api.call import Retry
from bridge.api.spec.connection import ConnectionSpec
from bridge.api.spec.retry import RetrySpec
from bridge.api.spec.upstream import TRANSPORTS, Upstream
from bridge.api.transport import Transport
from bridge.errors import BindError, Fault

#: Loads a transport's class.
Load = Callable[[], Callable[[], Transport]]


class Transports:
    """The transports of one gateway, each imported and created when a route first needs it.

    :param loaders: by name; those of the entry points by default.
    """

    def __init__(self, loaders: Mapping[str, Load] | None = None) -> None:
        self._loaders = loaders if loaders is not None else {e.name: e.load for e in entry_points(group=TRANSPORTS)}
        self._instances: dict[str, Transport] = {}

    def get(self, wire: str) -> Transport:
        """:param wire: a transformer's.
        :raises bridge.BindError: it is not installed, or can't be loaded.
        """
        transport = self._instances.get(wire)
        if transport is not None:
            return transport
        load = self._loaders.get(wire)
        if load is None:
            names = ", ".join(sorted(self._loaders))
            reason = f"its transformer speaks {wire!r}, for which there is no transport; there are {names}"
            raise BindError(Fault(reason, ("upstream",)))
        try:
            transport = load()()
        except Exception as error:  # a plug-in may fail in any way
            raise BindError(Fault(f"the transport {wire!r} can't be loaded: {error}", ("upstream",))) from error
        self._instances[wire] = transport
        return transport

    async def aclose(self) -> None:
        for transport in self._instances.values():
            await transport.aclose()


def scheme_of(transport: Transport, upstream: Upstream, connection: ConnectionSpec) -> str:
    """The scheme for `upstream`.

    :raises bridge.BindError: the spec's scheme is not the transport's, or its connection doesn't match the scheme.
    """
    plain, secure = transport.name, f"{transport.name}s"
    scheme = upstream.scheme or plain
    if scheme not in (plain, secure):
        reason = f"its transformer speaks {transport.name}; write {plain}:// or {secure}://, not {scheme}://"
        raise BindError(Fault(reason, ("upstream",)))
    if connection.secure and scheme == plain:
        reason = f"it says something of TLS, which {plain}:// does without; write {secure}://"
        raise BindError(Fault(reason, ("connection",)))
    for name in connection.special:
        if name not in transport.options:
            raise BindError(Fault(f"it means nothing to {transport.name}", ("connection", name)))
    return scheme


def policy_of(transport: Transport, retry: RetrySpec | None) -> Retry | None:
    """A spec's ``retry`` in the transport's codes.

    :raises bridge.BindError: it names a status that the protocol does not have.
    """
    if retry is None:
        return None
    try:
        codes = transport.retried if retry.on is None else frozenset(map(transport.code, retry.on))
    except ValueError as error:
        raise BindError(Fault(str(error), ("retry", "on"))) from None
    return Retry(retry.attempts, retry.backoff, retry.max_backoff, retry.multiplier, codes)
