"""The composition root: all parts of one gateway, made from its settings and closed together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from bridge.api.authenticator import Authenticator
from bridge.api.grants import Secrets
from bridge.api.spec.auth import Auth
from bridge.api.spec.lifecycle import lifecycle_warnings
from bridge.api.spec.route import RouteSpec
from bridge.api.spec.upstream_tokens import TokenExchangeUpstreamAuth
from bridge.api.transformer import Context
from bridge.catalog.registry import Registry
from bridge.catalog.store import open_store
from bridge.cluster.mesh import open_mesh
from bridge.cluster.pool import OfflineUpstreams, Upstreams
from bridge.config.file_follower import FileFollower
from bridge.config.role_binding import RoleBinding
from bridge.config.secrets_file import read_bindings
from bridge.config.settings import Settings
from bridge.config.tenants_file import read_tenants, reread_tenants
from bridge.egress.cookies import caller_cookies
from bridge.egress.credentials import CredentialsBinder
from bridge.egress.route import route_egress
from bridge.errors import SettingsError
from bridge.fronts.publish import Fronts
from bridge.gateway.chain import Chain, stages
from bridge.gateway.table import Binder, BoundRoute
from bridge.gateway.tenancy import Tenancy
from bridge.observe.config_files import ConfigFiles
from bridge.plugins import Transformers
from bridge.stages.auth.auth import build_authenticator
from bridge.stages.auth.client_cas import ClientCas
from bridge.stages.auth.issuers import Trust
from bridge.stages.auth.needs import ways_around
from bridge.stages.auth.possession import possession_of, wants_certificates
from bridge.stages.quota.setting import open_limits, password_file
from bridge.transport.fetch import Fetcher
from bridge.transport.grpc.caller import Caller

log = logging.getLogger("bridge")

_NO_CERTIFICATES = (
    "auth: no call has a client certificate, since neither BRIDGE_TLS_CERT nor BRIDGE_CLIENT_CERT_HEADER is set"
)


class Runtime:
    """The parts of one gateway. No route is bound before `Registry.load`.

    :param serving: whether its routes will be called. Otherwise no client library is loaded, upstreams are judged and
        not connected to.
    :param writing: whether anything may be written. Otherwise neither the store nor the local issuer's key is made.
    :raises SettingsError: a setting, or a file that one names, can't be used.
    """

    def __init__(self, settings: Settings, *, serving: bool = True, writing: bool = True) -> None:
        self.settings = settings
        self.limits = open_limits(settings, writes=serving and writing)
        self.files = ConfigFiles()
        self.follower = FileFollower(
            {
                settings.path(settings.issuers): self._follow_issuers,
                settings.path(settings.tenants): self._follow_tenants,
            }
        )
        self._reading = asyncio.Lock()
        self.trust = Trust.load(settings, verifying=writing)
        self.tenancy = Tenancy(read_tenants(settings.path(settings.tenants)), str(settings.tenants))
        cas = settings.client_cas
        self.client_cas = ClientCas(settings.path(cas), settings.home, partial(self._told, settings.client_cas))
        self.possession = possession_of(settings, self.client_cas)
        self.mesh = open_mesh(settings.mesh, settings.home)
        self.store = open_store(settings.store, settings.home, writes=writing)
        self.upstreams = Upstreams(self.mesh, settings) if serving else OfflineUpstreams(settings.home)
        self.fetcher = Fetcher(settings.fetch_networks)
        self.context = Context(
            settings.path("wsdl"),
            settings.path("protos"),
            fetch=self.fetcher.fetch,
            call=Caller(self.mesh.addresses).call,
        )
        self.transformers = Transformers(self.context)
        self._authenticators: WeakValueDictionary[tuple[Auth, bool], Authenticator] = WeakValueDictionary()
        self.credentials = CredentialsBinder(settings, self.fetcher, self.upstreams.bind, writing=writing)
        self.fronts = fronts = Fronts()
        self.binder = Binder(
            self.transformers,
            authenticate=self._authenticator,
            connect=self.upstreams.bind,
            fronts=fronts,
            chain=Chain(stages(settings, fronts.timeouts)),
            secrets=_secrets(settings, self.trust),
            judge=OfflineUpstreams(settings.home).bind,
            max_body=settings.max_body,
            egress=partial(route_egress, home=settings.home),
            cors=settings.cors,
            credentials=self.credentials.bind,
            cookies=caller_cookies,
            limits=self.limits,
        )
        for file in (
            settings.issuers,
            settings.client_cas,
            settings.secrets,
            settings.tenants,
        ):  # each of them was read
            self.files.told(file.name, current=True)
        routes = settings.path(settings.routes)
        self.registry = Registry(self.binder, self.store, routes, settings.home, self._route_warnings, self.tenancy)

    async def _route_warnings(self, route: BoundRoute) -> list[str]:
        spec = route.source.spec
        mesh_warnings = await self.mesh.warnings(spec.upstream)
        dates = lifecycle_warnings(spec.deprecated, spec.sunset)
        private = ["cache: has no effect, since replies of the callers' sessions (cookies) are private"]
        unused = private if spec.cookies is not None and spec.cache is not None else []
        foreign = [f"{key}: {reason}" for key, reason in self.tenancy.refusals(spec, route.owned)]
        around = ways_around(spec.auth, route.operations)
        shown = [_NO_CERTIFICATES] if wants_certificates(spec.auth) and not self._sees_certificates else []
        upstream = [f"upstream: {warning}" for warning in mesh_warnings]
        return [*route.warnings, *unused, *around, *shown, *dates, *foreign, *upstream]

    @property
    def _sees_certificates(self) -> bool:
        return self.settings.tls_cert is not None or self.settings.client_cert_header == "on"

    def _authenticator(self, spec: RouteSpec) -> Authenticator:
        """Routes with the same ``auth`` share one, since it keeps no state of a route."""
        keeps_token = isinstance(spec.upstream_auth, TokenExchangeUpstreamAuth)
        authenticator = self._authenticators.get((spec.auth, keeps_token))
        if authenticator is None:
            networks = self.settings.internal_networks
            authenticator = build_authenticator(
                spec.auth,
                self.trust,
                self.registry.keys,
                networks,
                keeps_token=keeps_token,
                possession=self.possession,
            )
            self._authenticators[spec.auth, keeps_token] = authenticator
        return authenticator

    def bindings(self) -> Iterable[RoleBinding]:
        """The roles that callers of the admin API have beside those of their tokens."""
        return chain(self.tenancy.content.roles, (stored.binding for stored in self.registry.bindings.all()))

    async def load(self) -> None:
        """As `Registry.load`; from now on calls are counted."""
        await self.limits.start()
        await self.registry.load()
        self._tell_foreign()

    def followers(self) -> Sequence[Coroutine[Any, Any, None]]:
        """What picks changes up while the gateway serves: of specs, contracts, routes of other processes, and files."""
        return (
            self.registry.watch((self.context.wsdl_dir, self.context.proto_dir)),
            self.registry.follow(),
            self.registry.followers.run(),
            self.follower.run(),
            self.client_cas.follow(),
        )

    def public_pages(self) -> frozenset[str]:
        """The pages below ``/-/`` that need no token. Unless the setting says otherwise, metrics need one as soon as
        there are tenants: they are of all routes, and one tenant's are not another's to see."""
        pages = self.settings.public_pages
        if self.settings.admin_public is None and self.tenancy.content.tenants:
            return pages - {"metrics"}
        return pages

    async def reload(self) -> None:
        """Read again what the operator's files say: issuers, ``secrets.yml``, ``tenants.yml``, the mesh, and all routes
        with their contracts and certificates. What can't be used is logged, and what was there before it stays."""
        await self._reload_issuers()
        with self._read("client authorities", self.settings.client_cas):
            await self.client_cas.reload()
        with self._read("bindings", self.settings.secrets):
            self.binder.secrets = await asyncio.to_thread(_secrets, self.settings, self.trust)
        await self._reload_tenants()
        await self.mesh.refresh()
        await self.registry.reload(rebind=True)
        self._tell_foreign()

    async def _reload_issuers(self) -> bool:
        """Whether the file could be used."""
        is_current = False
        async with self._reading:  # or what was read first could be taken last
            with self._read("issuers", self.settings.issuers):
                await self.trust.reload(self.settings)
                own = {file.resolve() for file in self.trust.files}
                secrets = self.binder.secrets
                self.binder.secrets = replace(secrets, reserved=secrets.reserved | own)
                is_current = True
        return is_current

    async def _follow_issuers(self) -> None:
        """``issuers.yml`` has changed. Routes may name an issuer that it did not have before."""
        if await self._reload_issuers():
            log.info("%s: read again", self.settings.issuers)
            await self.registry.reload(rebind=True)

    async def _reload_tenants(self) -> bool:
        """Whether the file could be used."""
        is_current = False
        async with self._reading:
            with self._read("tenants", self.settings.tenants):
                path = self.settings.path(self.settings.tenants)
                self.tenancy.content = await asyncio.to_thread(reread_tenants, path, self.tenancy.content)
                is_current = True
        return is_current

    async def _follow_tenants(self) -> None:
        """``tenants.yml`` has changed. It says who may do what from now on, and changes no live route."""
        if await self._reload_tenants():
            log.info("%s: read again", self.settings.tenants)
            self._tell_foreign()

    def _tell_foreign(self) -> None:
        """Log the live routes that name what their tenant does not own; they go on serving."""
        for route in self.registry.table.routes.values():
            for key, reason in self.tenancy.refusals(route.source.spec, route.owned):
                name = route.source.file or f"registered route {route.source.id}"
                log.warning("%s serves, though it could not be registered now: %s: %s", name, key, reason)

    def _told(self, file: Path, current: bool) -> None:
        self.files.told(file.name, current=current)

    @contextmanager
    def _read(self, what: str, file: Path) -> Iterator[None]:
        """Within it, `file` is read again; if that fails, `what` was there before it stays."""
        try:
            yield
        except SettingsError as error:
            log.error("%s; the %s before it are kept", error, what)
            self.files.told(file.name, current=False)
        else:
            self.files.told(file.name, current=True)

    async def aclose(self) -> None:
        async with AsyncExitStack() as stack:
            parts = (
                self.store, self.trust, self.mesh, self.upstreams, self.fetcher, self.transformers, self.registry,
                self.credentials, self.limits,
            )  # fmt: skip
            for part in parts:
                stack.push_async_callback(part.aclose)


def _secrets(settings: Settings, trust: Trust) -> Secrets:
    """The operator's bindings of secrets, and the gateway's own files, which no route may name.

    :raises SettingsError: ``secrets.yml`` is wrong.
    """
    path = settings.path(settings.secrets)
    reserved = [path, *trust.files, settings.state]
    reserved += [
        settings.path(each)
        for each in (
            settings.issuers,
            settings.client_cas,
            settings.tenants,
            settings.log,
            settings.routes,
            settings.policies,
        )
    ]
    reserved += [settings.path(each) for each in (settings.tls_cert, settings.tls_key) if each is not None]
    reserved += [
        settings.path(url.removeprefix(scheme))
        for url in (settings.mesh, settings.store)
        for scheme in ("static:", "sqlite:///")
        if url.startswith(scheme)
    ]
    if (password := password_file(settings.limits)) is not None:
        reserved.append(settings.path(password))
    return Secrets(read_bindings(path), frozenset(each.resolve() for each in reserved), str(settings.secrets))
