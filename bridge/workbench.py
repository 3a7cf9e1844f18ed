"""What the command line asks of the house without serving: judge, list, document, explain, import, mint."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from lxml import etree

from bridge.admin import published
from bridge.errors import BindError, Fault, InvalidParameter, MethodNotAllowed, SettingsError, SetupError
from bridge.gateway import parse_target
from bridge.guards.api_key import mint_key
from bridge.guards.local_issuer import LocalIssuer
from bridge.house import House
from bridge.openapi import build_document, for_host, for_tenant
from bridge.payload import XmlError, parse_xml
from bridge.plugins import Transformers
from bridge.registry import placed
from bridge.settings import Settings
from bridge.spec import seconds
from bridge.specfile import read_file
from bridge.store.base import open_store
from bridge.table import Endpoint, Source, Table
from bridge.transformer import Call, Context, GrpcRequest, HttpRequest


@runtime_checkable
class Importer(Protocol):
    """A transformer that can write a spec for a service that exists already."""

    async def import_spec(self, source: Sequence[str], context: Context) -> tuple[str, list[str]]: ...


@runtime_checkable
class Explainer(Protocol):
    """A codec whose upstream message can be shown as text: a protobuf message, say."""

    def show(self, outbound: Any) -> str: ...


@runtime_checkable
class Noting(Protocol):
    """A transformer that publishes what it can and says what it left out: ``notes(route) -> sentences``."""

    def notes(self, route: Any) -> Sequence[str]: ...


@contextlib.asynccontextmanager
async def _house(settings: Settings) -> AsyncIterator[tuple[House, list[Fault]]]:
    """The house with all routes bound that can be, and the faults of the others."""
    house = House(settings)
    try:
        faults: list[Fault] = []
        try:
            await house.registry.load()
        except SetupError as error:
            faults += error.faults
        yield house, faults
    finally:
        await house.aclose()


async def judge(settings: Settings, files: Sequence[Path]) -> tuple[list[Fault], list[str], int]:
    """Faults, notes on what is left out, and the number of routes in `files` (the routes folder when empty)."""
    house = House(settings)
    faults: list[Fault] = []
    notes: list[str] = []
    bound = []
    try:
        for path in files or house.registry.spec_files():
            try:
                documents = read_file(path)
            except SetupError as error:
                faults += error.faults
                continue
            for number, (spec, document) in enumerate(documents):
                source = Source(f"{path}#{number}" if number else str(path), "file", spec, str(path), document)
                try:
                    bound.append(await house.binder.bind(source))
                except SetupError as error:
                    faults += [placed(fault, source) for fault in error.faults]
                    continue
                transformer = await house.transformers.get(spec.transform.request)
                if isinstance(transformer, Noting):
                    notes += [f"{path}: left out: {note}" for note in transformer.notes(spec)]
        for route, taken in Table(bound).refused:
            faults += [placed(fault, route.source) for fault in taken.faults]
    finally:
        await house.aclose()
    return faults, notes, len(bound)


async def table_rows(settings: Settings) -> tuple[list[dict[str, Any]], list[Fault]]:
    """A row for each published operation."""
    async with _house(settings) as (house, faults):
        rows = [
            {
                "id": route.source.id,
                "method": operation.method,
                "path": route.template(operation),
                "host": route.source.spec.host or "*",
                "tenant": route.source.spec.tenant or "-",
                "transformer": route.source.spec.transform.request,
                "auth": getattr(route.source.spec.auth, "type", "any"),
                "upstream": str(route.source.spec.upstream),
                "operation": operation.name,
            }
            for route in house.registry.table.routes.values()
            for operation in route.operations
        ]
        return rows, faults


async def document(settings: Settings, host: str, tenant: str) -> dict[str, Any]:
    """The OpenAPI document. A folder that holds faults raises, since half a document is a wrong one."""
    from bridge.app import VERSION

    async with _house(settings) as (house, faults):
        if faults:
            raise SetupError(faults)
        operations = for_host(published(house.registry.table.routes.values()), host)
        if tenant:
            operations = for_tenant(operations, tenant)
        return build_document(operations, title="HMS Bridge", version=VERSION)


# --- explain -----------------------------------------------------------------------------------------------------

_SECRET_HEADER = re.compile(r"authorization|cookie|token|secret|key|password|credential", re.IGNORECASE)
_SECRET_ELEMENT = re.compile(r"password|passwd|secret|token|apikey|credential|nonce", re.IGNORECASE)
MASK = "***"


async def explanation(settings: Settings, target: str, body: bytes, host: str) -> str:
    """The upstream request that a call to `target` (``[METHOD ]/path?query``) would become, as text."""
    method, _, path = target.rpartition(" ")
    async with _house(settings) as (house, faults):
        try:
            endpoint, call = _find(house.registry.table, method.strip().upper(), path, body, host)
        except BindError:
            raise
        except Exception:
            if faults:
                raise SetupError(faults) from None
            raise
        outbound = endpoint.codec.request(call)
        return render(endpoint, outbound)


def _find(table: Table, method: str, target: str, body: bytes, host: str) -> tuple[Endpoint, Call]:
    path, query = parse_target(target)
    tries = [method] if method else (["POST", "PUT", "PATCH"] if body else ["GET", "POST", "DELETE"])
    for at, verb in enumerate(tries):
        try:
            endpoint, params = table.match(host.lower(), path, verb)
        except MethodNotAllowed:
            if at + 1 == len(tries):
                raise
            continue
        headers = [("content-type", "application/json")] if body else []
        return endpoint, Call(verb, path, raw_params=params, query=query, headers=headers, body=body)
    raise InvalidParameter([("ROUTE", "name a path")])


def render(endpoint: Endpoint, outbound: HttpRequest | GrpcRequest) -> str:
    """`outbound` as a person reads it; values of headers and elements that sound like secrets are masked."""
    spec = endpoint.route.source.spec
    to = f"to {spec.upstream.name}:{spec.upstream.port} by {endpoint.route.wire}"
    if isinstance(outbound, GrpcRequest):
        lines = [f"{outbound.path}  ({to})"]
        lines += [f"{name}: {MASK if _SECRET_HEADER.search(name) else value!s}" for name, value in outbound.metadata]
        shown = endpoint.codec.show(outbound) if isinstance(endpoint.codec, Explainer) else outbound.message.hex(" ")
        return "\n".join([*lines, "", shown.rstrip("\n")])
    lines = [f"{outbound.method} {outbound.path}  ({to})"]
    lines += [f"{name}: {MASK if _SECRET_HEADER.search(name) else value}" for name, value in outbound.headers]
    return "\n".join([*lines, "", _body_text(outbound)]).rstrip("\n")


def _body_text(outbound: HttpRequest) -> str:
    try:
        root = parse_xml(outbound.body)
    except XmlError:
        return outbound.body.decode("utf-8", "replace")
    for element in root.iter():
        if isinstance(element.tag, str) and _SECRET_ELEMENT.search(etree.QName(element).localname) and element.text:
            element.text = MASK
    etree.indent(root)
    return etree.tostring(root, encoding="unicode")


# --- import, tokens, keys ----------------------------------------------------------------------------------------


async def imported(settings: Settings, name: str, source: Sequence[str]) -> tuple[str, list[str]]:
    """A ready spec for a service that exists, and notes on what it could not publish.

    :raises BindError: it can't be read, or the transformer can't import.
    """

    async def resolve(host: str, port: str) -> Sequence[tuple[str, int]]:
        return [(host, int(port))]

    context = Context(settings.path("wsdl"), settings.path("protos"), resolve)
    transformers = Transformers(context)
    try:
        transformer = await transformers.get(name)
        if not isinstance(transformer, Importer):
            raise BindError(f"the transformer {name!r} can't import")
        return await transformer.import_spec(source, context)
    finally:
        await transformers.aclose()


def lifetime(text: str) -> float:
    """Seconds of ``30m``, ``1h``, ``7d``.

    :raises SettingsError: it is none.
    """
    try:
        found = float(str(seconds(text)))
    except ValueError as error:
        raise SettingsError(f"--ttl: {error}") from None
    if found <= 0:
        raise SettingsError("--ttl: it must be longer than nothing")
    return found


def mint_token(
    settings: Settings,
    *,
    sub: str,
    roles: Sequence[str],
    tenant: str,
    audience: Sequence[str],
    scopes: Sequence[str],
    ttl: str,
) -> str:
    """A JWT of the local issuer, whose key is made here if there is none yet."""
    if settings.local_issuer == "off":
        raise SettingsError("BRIDGE_LOCAL_ISSUER is off, so a token of the local issuer would not be believed")
    issuer = LocalIssuer.open(settings)
    return issuer.mint(
        sub, roles, tenant, audience[0] if len(audience) == 1 else audience, lifetime(ttl), scopes=scopes
    )


async def new_key(
    settings: Settings, subject: str, tenant: str, roles: Sequence[str], scopes: Sequence[str], ttl: str
) -> tuple[str, str]:
    """A new key's text, shown this once, and its id."""
    text, record = mint_key(subject, tenant=tenant, roles=roles, scopes=scopes, ttl=lifetime(ttl) if ttl else None)
    store = open_store(settings.store, settings.home)
    try:
        await store.put_key(record)
    finally:
        await store.aclose()
    return text, record.id


async def list_keys(settings: Settings) -> list[dict[str, Any]]:
    """Every key without its hash."""
    store = open_store(settings.store, settings.home)
    try:
        return [
            {
                "id": key.id,
                "sub": key.subject,
                "tenant": key.tenant or "-",
                "roles": ",".join(sorted(key.roles)) or "-",
                "state": "revoked"
                if key.revoked
                else "expired"
                if key.expires and key.expires < time.time()
                else "good",
            }
            for key in await store.keys()
        ]
    finally:
        await store.aclose()


async def revoke_key(settings: Settings, key_id: str) -> None:
    """:raises SettingsError: there is no such key."""
    from dataclasses import replace

    store = open_store(settings.store, settings.home)
    try:
        for key in await store.keys():
            if key.id == key_id:
                await store.put_key(replace(key, revoked=time.time()))
                return
        raise SettingsError(f"no key has the id {key_id!r}; `hms-bridge key list` shows them")
    finally:
        await store.aclose()
