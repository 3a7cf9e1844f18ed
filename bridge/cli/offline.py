"""What the command line does without serving: check, list, document, explain, import."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from base64 import b64encode
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from lxml import etree
from pydantic import BaseModel, ValidationError

from bridge.admin.openapi.access import access_of, access_words, methods_with_needs
from bridge.api.call import Call, GrpcRequest, HttpRequest, Identity
from bridge.api.capabilities import Explaining, Importing, Remarking, Secretive, capability
from bridge.api.grants import Grant, granted
from bridge.api.importing import ImportOutput
from bridge.api.spec.auth import NoAuth
from bridge.api.spec.lifecycle import moment_text
from bridge.api.spec.route import RouteSpec
from bridge.api.transformer import Context
from bridge.catalog.folder import Folder
from bridge.catalog.live import placed
from bridge.cli.named import check_named
from bridge.config.settings import Settings
from bridge.config.specfile import Draft, faults_of, read_drafts, read_file
from bridge.config.yaml import NO_LINES
from bridge.egress.forwarded import arrival
from bridge.errors import (
    BindError,
    BridgeError,
    ConflictError,
    Fault,
    InvalidParameter,
    MethodNotAllowed,
    SetupError,
    SpecError,
)
from bridge.gateway.table import BoundRoute, Endpoint, Source, Table
from bridge.http.forwarding import forwarding
from bridge.http.query import without
from bridge.http.target import parse_target
from bridge.observe.masking import masked_target
from bridge.payload.parsing import XmlError, parse_xml
from bridge.plugins import Transformers, plugin_failure
from bridge.runtime import Runtime
from bridge.stages.auth.presented import credential_places, remove_credentials
from bridge.stages.quota.parts import limit_remarks
from bridge.transport.fetch import Fetcher
from bridge.transport.grpc.caller import Caller
from bridge.transport.reach import fetch_refusal


@contextlib.asynccontextmanager
async def loaded(settings: Settings) -> AsyncIterator[tuple[Runtime, list[Fault]]]:
    """A runtime with all valid routes bound, and the faults of the others.

    :raises SettingsError: a setting, or a file that one names, can't be used.
    """
    check_named(settings)
    runtime = Runtime(settings, serving=False, writing=False)
    try:
        faults: list[Fault] = []
        try:
            await runtime.registry.load()
        except SetupError as error:
            faults += error.faults
        for route in runtime.registry.broken.values():
            # `load` has told what two files want both.
            if route.source.kind == "file" and not isinstance(route.error, ConflictError):
                faults += [fault for fault in route.error.faults if fault not in faults]
        yield runtime, faults
    finally:
        await runtime.aclose()


def needs_of(spec: RouteSpec, method: str = "") -> str:
    """What callers of a route need, and with `method` of that one alone; ``""``: nothing."""
    words = access_words(access_of(spec.auth, method, names=True))
    return "" if spec.auth == _OPEN else f"callers need {words}"


async def judge(settings: Settings, files: Sequence[Path]) -> tuple[list[Fault], list[str], int, list[dict[str, Any]]]:
    """Faults, notes on what is left out, the number of routes in `files` (the routes folder when empty) that are all
    right, and what their callers need: a row for each of them, and for each method whose calls need more.

    :raises SettingsError: a setting, or a file that one names, can't be used.
    """
    check_named(settings)
    runtime = Runtime(settings, serving=False, writing=False)
    faults: list[Fault] = []
    notes: list[str] = []
    routes: list[BoundRoute] = []
    try:
        for path in _spec_files(files, settings) if files else runtime.registry.spec_files():
            drafts, unread = await asyncio.to_thread(read_drafts, path)
            for number, draft in enumerate(drafts):
                route, found = await _judged(runtime, path, number, draft)
                faults += found
                if route is not None and not found:
                    routes.append(route)
                    notes += [f"{path}: {warning}" for warning in await runtime.registry.warnings(route)]
            faults += unread
        for issuer, reason in (await runtime.trust.undiscovered()).items():
            notes.append(f"{settings.path(settings.issuers)}: {issuer}: its tokens get 503 until it answers: {reason}")
        for refused, conflict in Table(routes).refused:
            faults += [placed(fault, refused.source) for fault in conflict.faults]
    finally:
        await runtime.aclose()
    rows: list[dict[str, Any]] = []
    for route in routes:
        spec = route.source.spec
        for method in ("", *methods_with_needs(spec.auth)):
            place = {"file": route.source.file, "route": spec.route} | ({"method": method} if method else {})
            rows.append(place | {"access": access_of(spec.auth, method, names=True), "needs": needs_of(spec, method)})
    return faults, notes, len(routes), rows


async def _judged(runtime: Runtime, path: Path, number: int, draft: Draft) -> tuple[BoundRoute | None, list[Fault]]:
    """A document's route, and all that is wrong with it: what its keys say, and what only binding finds."""
    faults = list(draft.faults)
    if draft.spec is None:
        return None, faults
    source = Source(f"{path}#{number}" if number else str(path), "file", draft.spec, str(path), draft.document)
    try:
        return await runtime.binder.bind(source), faults
    except (Exception, SystemExit) as error:  # a plug-in may fail in any way
        failure = error if isinstance(error, SetupError) else plugin_failure(draft.spec.transform.request, error)
        faults += [placed(fault, source) for fault in failure.faults if draft.is_known(fault)]
        if isinstance(error, SpecError):
            faults += await _faults_of_others(runtime, source, draft, error.faults)
        return None, faults


async def _faults_of_others(runtime: Runtime, source: Source, draft: Draft, faults: Sequence[Fault]) -> list[Fault]:
    """What binding finds in the transformer's options without those that are wrong by `faults`."""
    transform = source.spec.transform
    wrong = {
        fault.path[2] for fault in faults if len(fault.path) > 2 and fault.path[:2] == ("transform", transform.request)
    }
    if len(wrong) < len({fault.path[:3] for fault in faults}) or not isinstance(transform.options, dict):
        return []
    options = {key: value for key, value in transform.options.items() if key not in wrong}
    spec = source.spec.model_copy(update={"transform": transform.model_copy(update={transform.request: options})})
    try:
        await runtime.binder.bind(replace(source, spec=spec))
    except BindError as error:
        return [placed(fault, source) for fault in error.faults if draft.is_known(fault)]
    except (Exception, SystemExit):  # an option is missing that others need
        return []
    return []


def _spec_files(paths: Sequence[Path], settings: Settings) -> list[Path]:
    """The files that `paths` name; of a folder, all that it holds. One that stands in several folders, or in a folder
    and by itself, is one file.

    :raises SpecError: a folder holds none.
    """
    files = [path for path in paths if not os.path.isdir(path)]
    known = {os.path.realpath(file) for file in files}
    for folder in [path for path in paths if os.path.isdir(path)]:
        inside = Folder(folder, settings.home).files()
        if not inside:
            raise SpecError(Fault("the folder holds no spec file (.yml, .yaml, .json)", file=str(folder)))
        files += [file for file in inside if os.path.realpath(file) not in known]
        known |= {os.path.realpath(file) for file in inside}
    return files


async def table_rows(settings: Settings) -> tuple[list[dict[str, Any]], list[Fault]]:
    """A row for each published operation."""
    async with loaded(settings) as (runtime, faults):
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
                "deprecated": _deprecated(route.source.spec),
                "sunset": moment_text(sunset.date) if (sunset := route.source.spec.sunset) is not None else "-",
                "tags": ", ".join(route.source.spec.tags or ()) or "-",
            }
            for route in runtime.registry.table.routes.values()
            for operation in route.operations
        ]
        return rows, faults


def _deprecated(spec: RouteSpec) -> str:
    """The date, ``yes`` without one, or ``-``."""
    if spec.deprecated is None:
        return "-"
    return moment_text(spec.deprecated.since) if spec.deprecated.since is not None else "yes"


async def document(settings: Settings, host: str, tenant: str) -> dict[str, Any]:
    """The OpenAPI document.

    :param host: only what answers at this public host; ``""``: the routes of all hosts.
    :param tenant: only this tenant's routes; ``""``: those of all.
    :raises SetupError: the folder has faults, so that the document would be incomplete.
    """
    from bridge.admin.api import published
    from bridge.admin.openapi import api_info, api_servers, build_document, for_host, for_tenant
    from bridge.app import VERSION

    async with loaded(settings) as (runtime, faults):
        if faults:
            raise SetupError(faults)
        operations = published(runtime.registry.table.routes.values())
        if host:
            operations = for_host(operations, host)
        if tenant:
            operations = for_tenant(operations, tenant)
        return build_document(operations, servers=api_servers(settings), **api_info(settings, VERSION))


# --- explain -----------------------------------------------------------------------------------------------------

_OPEN = NoAuth(type="none")
_SECRET_HEADER = re.compile(r"authorization|cookie|token|secret|key|password|credential", re.IGNORECASE)
_SECRET_ELEMENT = re.compile(r"password|passwd|secret|token|apikey|credential|nonce", re.IGNORECASE)
MASK = "***"
_WHOLE = 6  #: characters; a shorter secret is masked only where it is the whole text


async def explanation(
    settings: Settings,
    target: str,
    body: bytes,
    host: str,
    headers: Sequence[tuple[str, str]] = (),
    claims: Mapping[str, Any] | None = None,
) -> str:
    """The upstream request that a call to `target` (``[METHOD ]/path?query``) would become, as text.

    :param headers: fields of the call, names in lower case.
    :param claims: of the caller's token.
    """
    method, _, path = target.rpartition(" ")
    async with loaded(settings) as (runtime, faults):
        try:
            endpoint, call = _find(runtime.registry.table, method.strip().upper(), path, body, host, headers)
        except BindError:
            raise
        except Exception:
            if faults:
                raise SetupError(faults) from None
            raise
        if claims is not None:
            call.identity = Identity(str(claims.get("sub", "")), claims=claims)
        try:
            if endpoint.spec.forwarded.used:  # as for a call from this machine
                public = host or endpoint.spec.host or "localhost"
                secure = settings.tls_cert is not None
                call.forwarded = arrival("127.0.0.1", headers, settings.trusted_proxies, host=public, secure=secure)
            text = render(endpoint, *_outbound(endpoint, call), needs=needs_of(endpoint.spec, call.method))
            return "\n".join([text, *_remarks(endpoint, call)])
        except BridgeError:
            raise
        except (Exception, SystemExit) as error:  # a plug-in may fail in any way
            raise plugin_failure(endpoint.spec.transform.request, error) from error


def _find(
    table: Table, method: str, target: str, body: bytes, host: str, fields: Sequence[tuple[str, str]]
) -> tuple[Endpoint, Call]:
    path, query = parse_target(target)
    tries = [method] if method else (["POST", "PUT", "PATCH"] if body else ["GET", "POST", "DELETE"])
    for at, verb in enumerate(tries):
        try:
            endpoint, params = table.match(host.lower(), path, verb)
        except MethodNotAllowed:
            if at + 1 == len(tries):
                raise
            continue
        headers = [("content-type", "application/json"), *fields] if body else fields
        query = without(query, endpoint.ignored_query)
        call = Call(verb, path, raw_params=params, query=query, headers=headers, body=body)
        for place in credential_places(endpoint.spec.auth):
            remove_credentials(call, place)
        call.headers = forwarding(endpoint.authenticator.consumes)(call.headers)
        return endpoint, call
    raise InvalidParameter([("ROUTE", "name a path")])


def _remarks(endpoint: Endpoint, call: Call) -> Sequence[str]:
    """What is to be known of the route's ``auth`` and ``limits``, below an empty line."""
    remarking = capability(endpoint.authenticator, Remarking)
    remarks = [f"auth: {remark}" for remark in (remarking.remarks if remarking else ())]
    remarks += [f"limits: {remark}" for remark in limit_remarks(endpoint.spec, endpoint.operation.name, call)]
    return ["", *remarks] if remarks else []


def _outbound(endpoint: Endpoint, call: Call) -> Sequence[HttpRequest | GrpcRequest]:
    """The upstream requests: one, or one for each message of a stream."""
    if not endpoint.streams:
        return [endpoint.request(call)]
    exchange = endpoint.open(call)
    if not exchange.sends:
        return [exchange.request]
    messages = [*exchange.feed(call.body), *exchange.finish()]
    return [replace(exchange.request, message=message) for message in messages] or [exchange.request]


def render(
    endpoint: Endpoint, outbound: HttpRequest | GrpcRequest, *rest: HttpRequest | GrpcRequest, needs: str = ""
) -> str:
    """`outbound` as readable text, with the messages of `rest` of the same stream. Secrets of the codec are masked, and
    values whose names suggest a secret.

    :param needs: what callers need, as `needs_of` says it.
    """
    spec = endpoint.route.source.spec
    to = f"to {spec.upstream.name}:{spec.upstream.port} by {endpoint.route.wire}"
    if needs:
        to += f"; {needs}"
    explainer, secret_holder = capability(endpoint.codec, Explaining), capability(endpoint.codec, Secretive)
    secrets = secret_holder.secrets if secret_holder else ()
    masked: Collection[str] = ()
    if egress := endpoint.route.egress:
        secrets, masked = {*secrets, *egress.secrets}, egress.masked_fields
    fetched = [*(endpoint.credentials.names if endpoint.credentials else ())]
    if endpoint.cookies is not None:
        fetched.append("cookie")
    own = [f"{name}: {MASK}" for name in fetched]  # they are fetched or looked up before a call is sent

    def line(name: str, value: str) -> str:
        hidden = name.lower() in masked or _SECRET_HEADER.search(name)
        return f"{name}: {MASK if hidden else _masked(value, secrets)}"

    if isinstance(outbound, GrpcRequest):
        lines = [f"{outbound.path}  ({to})"]
        for name, value in outbound.metadata:
            if name not in fetched:
                # Bytes as HTTP/2 carries them.
                lines.append(line(name, value if isinstance(value, str) else b64encode(value).decode()))
        lines += own
        for message in (outbound, *rest):
            assert isinstance(message, GrpcRequest)
            text = explainer.show(message) if explainer else message.message.hex(" ")
            lines += ["", text.rstrip("\n")]
        return "\n".join(lines)
    path = masked_target(outbound.path, egress.masked_parameters if egress else ())
    lines = [f"{outbound.method} {_masked(path, secrets)}  ({to})"]
    lines += [line("host", outbound.host)] if outbound.host else []
    lines += [line(name, value) for name, value in outbound.headers if name.lower() not in fetched]
    lines += own
    return "\n".join([*lines, "", _body_text(outbound, secrets)]).rstrip("\n")


def _forms(secret: str) -> tuple[str, str, str]:
    """A secret as plain text, as XML text and as an XML attribute's value."""
    return secret, escape(secret), quoteattr(secret)[1:-1]


def _body_text(outbound: HttpRequest, secrets: Collection[str]) -> str:
    try:
        root = parse_xml(outbound.body)
    except XmlError:
        text: str = outbound.body.decode("utf-8", "replace")
        # Not XML, but it may contain XML (a part of a multipart message), where secrets are escaped.
        for form in sorted({form for secret in secrets for form in _forms(secret)}, key=len, reverse=True):
            text = text.replace(form, MASK)
        return text
    for element in root.iter("*"):
        if element.text:
            by_name = _SECRET_ELEMENT.search(etree.QName(element).localname)
            element.text = MASK if by_name else _masked(element.text, secrets)
        if element.tail:
            element.tail = _masked(element.tail, secrets)
        for name, value in element.items():
            by_name = _SECRET_ELEMENT.search(etree.QName(name).localname)
            element.set(name, MASK if by_name else _masked(str(value), secrets))
    etree.indent(root)
    return etree.tostring(root, encoding="unicode")


def _masked(text: str, secrets: Collection[str]) -> str:
    if text in secrets or text.strip() in secrets:
        return MASK
    for secret in secrets:
        if len(secret) >= _WHOLE:
            text = text.replace(secret, MASK)
    return text


# --- import -------------------------------------------------------------------------------------------------------


async def imported(
    settings: Settings, name: str, values: Mapping[str, Any], output: ImportOutput | None = None
) -> tuple[str, list[str]]:
    """A spec for a service that exists, and notes on what it leaves out.

    :param name: of a transformer that can import. :param values: of its `import_options`.
    :param output: takes what belongs to the spec.
    :raises BindError: the service can't be read, or `values` break the options' model.
    """

    async def resolve(host: str, port: str) -> Sequence[tuple[str, int]]:
        return [(host, int(port))]

    # Operators may fetch from all hosts that this machine reaches. Redirects to other hosts are still refused.
    addresses: dict[str, str] = {}
    fetcher = Fetcher((IPv4Network("0.0.0.0/0"), IPv6Network("::/0")), addresses.__setitem__)
    output = output or ImportOutput()
    context = Context(settings.path("wsdl"), settings.path("protos"), fetcher.fetch, Caller(resolve).call, output)
    transformers = Transformers(context)
    try:
        importer = capability(await transformers.get(name), Importing)
        if importer is None:
            raise BindError(f"the transformer {name!r} can't import")
        try:
            options = importer.import_options.model_validate(values)
        except ValidationError as error:
            raise BindError(faults_of(error, importer.import_options, values, NO_LINES)) from None
        text, notes = await _import_spec(name, importer, options, context)
    finally:
        await transformers.aclose()
        await fetcher.aclose()
    return text, [*notes, *([] if output.files else _unfetchable(addresses, settings))]


async def _import_spec(name: str, importer: Importing, options: BaseModel, context: Context) -> tuple[str, list[str]]:
    """The spec and the notes of a plug-in, whose code may fail in any way.

    :raises BindError: it does.
    """
    try:
        with granted(Grant(operator=True)):
            result: Any = await importer.import_spec(options, context)
    except BridgeError:
        raise
    except (Exception, SystemExit) as error:
        raise plugin_failure(name, error) from error
    match result:
        case (str(text), list(notes) | tuple(notes)):
            return text, [str(note) for note in notes]
    reason = f"the transformer {name!r} failed: import_spec must return the text of a spec and a list of notes"
    raise BindError(Fault(f"{reason}, not {result!r:.100}"))


async def installed(
    settings: Settings, text: str, output: ImportOutput, file: Path, address: str, config: Path | None
) -> list[str]:
    """Write the spec `text` to `file`, and what belongs to it into the home and the mesh; lines that say so, and what
    to do next.

    :param address: ``host:port`` of the service, by the user's word; else one of the output's is taken.
    :raises SettingsError: a file exists already, or can't be written.
    """
    from bridge.cli.files import check_free, write
    from bridge.cli.mesh_entry import add_entry
    from bridge.cli.next_steps import next_steps

    contents = {settings.path(name): content for name, content in output.files.items()}
    if not output.replaces:
        check_free({**contents, file: None})
    paths = [path for path, content in contents.items() if write(path, content, replace=output.replaces)]
    write(file, text.encode(), replace=output.replaces)
    lines = [f"Wrote {', '.join(map(str, [*paths, file]))}."]
    try:
        spec, _ = read_file(file)[0]
    except SpecError as error:  # a plug-in's mistake
        return [*lines, "It can't serve yet:", *(f"  {fault}" for fault in error.faults)]
    addresses = [address] if address else output.addresses
    lines += await add_entry(settings, spec.upstream, addresses, insists=bool(address))
    return [*lines, *await next_steps(settings, file, config)]


def _unfetchable(addresses: Mapping[str, str], settings: Settings) -> list[str]:
    """A note for each host that the command fetched from, but that a gateway with these settings may not.

    :param addresses: hosts and their addresses.
    """
    return [
        f"a gateway that serves this fetches nothing from {host} ({address}: {reason}): save the WSDL and what it"
        f" imports in wsdl/ and name the file, or set BRIDGE_FETCH_NETWORKS={address}"
        for host, address in addresses.items()
        if (reason := fetch_refusal(address, settings.fetch_networks))
    ]
