"""Everything a gateway stands on, made from its settings and closed together. `app.py` serves it, `cli.py` asks it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from bridge.errors import SettingsError
from bridge.guards.auth import Authenticator, build_authenticator
from bridge.guards.issuers import Trust
from bridge.mesh import Mesh, open_mesh
from bridge.plugins import Transformers
from bridge.registry import Registry
from bridge.settings import Settings
from bridge.spec import Auth, RouteSpec
from bridge.store import open_store
from bridge.table import Binder
from bridge.transformer import Context
from bridge.upstream.schemes import Unconnected

if TYPE_CHECKING:
    from bridge.upstream.pool import Upstreams


class House:
    """The rooms of one gateway. No route is bound before `Registry.load`.

    :param serving: whether its routes will be called; without, no client library is loaded and no upstream is met.

    :raises SettingsError: a setting, or a file that one names, can't be used.
    """

    def __init__(self, settings: Settings, *, serving: bool = True) -> None:
        if settings.limits != "memory://":
            raise SettingsError(f"BRIDGE_LIMITS: {settings.limits!r} is not to be had here; this version has memory://")
        self.settings = settings
        self.trust = Trust.load(settings)
        self.mesh = open_mesh(settings.mesh, settings.home)
        self.store = open_store(settings.store, settings.home)
        self.upstreams = _upstreams(self.mesh, settings) if serving else Unconnected(settings.home)
        self.context = Context(settings.path("wsdl"), settings.path("protos"), resolve=self.mesh.addresses)
        self.transformers = Transformers(self.context)
        self._authenticators: WeakValueDictionary[Auth, Authenticator] = WeakValueDictionary()
        self.binder = Binder(
            self.transformers,
            authenticate=self._authenticator,
            connect=self.upstreams.bind,
        )
        self.registry = Registry(self.binder, self.store, settings.path(settings.routes), settings.home)

    def _authenticator(self, spec: RouteSpec) -> Authenticator:
        """One for all routes that ask the same: it holds nothing of theirs."""
        made = self._authenticators.get(spec.auth)
        if made is None:
            made = build_authenticator(spec.auth, self.trust, self.registry, self.settings.internal_networks)
            self._authenticators[spec.auth] = made
        return made

    async def aclose(self) -> None:
        async with AsyncExitStack() as closing:
            for room in (self.store, self.trust, self.mesh, self.upstreams, self.transformers, self.registry):
                closing.push_async_callback(room.aclose)


def _upstreams(mesh: Mesh, settings: Settings) -> Upstreams:
    from bridge.upstream.pool import Upstreams  # loads the client libraries, which take their time

    return Upstreams(mesh, settings)
