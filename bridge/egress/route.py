"""The egress of one route: all its edits, compiled (`bridge.api.egress.Egress`)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bridge.api.call import Call, GrpcRequest, HttpRequest
from bridge.api.egress import Egress
from bridge.api.spec.route import RouteSpec
from bridge.api.values import Origin, Value, caching, secret_texts
from bridge.egress.fields import GRPC, HTTP, CompiledEdits, Field, compiled, filled
from bridge.egress.forwarded import forwarded_fields
from bridge.egress.query import UpstreamQuery, edited, parameter_name, parameter_text
from bridge.egress.static import STATIC, StaticCredentials, static_credentials
from bridge.errors import BindError, Fault

_KEYS = frozenset(("headers", "query", "forwarded", "upstream_auth"))  #: of the spec, by which a request is edited
_NO_EDITS = CompiledEdits(frozenset(), ())
_FORWARDED = frozenset(("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded"))


def route_egress(spec: RouteSpec, wire: str, home: Path) -> Egress | None:
    """The egress of a route, within its grant (`bridge.api.grants`); None: it edits nothing.

    :param wire: ``http`` or ``grpc``, the transformer's. :param home: the folder that ``$file`` is relative to.
    :raises bridge.api.BindError: something can't be sent over this protocol, or a secret can't be read; all faults.
    """
    if not spec.upstream.query and _KEYS.isdisjoint(spec.model_fields_set):
        return None
    query = spec.upstream.query or spec.query.model_fields_set
    has_credentials = isinstance(spec.upstream_auth, STATIC)
    if not (query or spec.headers.request.model_fields_set or spec.forwarded.used or has_credentials):
        return None
    return RouteEgress(spec, home, is_grpc=wire == "grpc")


class RouteEgress:
    """:raises bridge.api.BindError: as `route_egress`."""

    def __init__(self, spec: RouteSpec, home: Path, *, is_grpc: bool) -> None:
        wire = GRPC if is_grpc else HTTP
        faults: list[Fault] = []
        if is_grpc:
            faults += _without_http(spec)
        self._forwarded = spec.forwarded
        self._fields, self._parameters = _NO_EDITS, _NO_EDITS
        self._credentials: StaticCredentials | None = None
        self._query: UpstreamQuery | None = None
        try:
            self._fields = compiled(spec.headers.request, ("headers", "request"), home, wire.name, wire.convert)
        except BindError as error:
            faults += error.faults
        try:
            self._parameters = compiled(spec.query, ("query",), home, parameter_name, lambda name: parameter_text)
        except BindError as error:
            faults += error.faults
        try:
            self._credentials = static_credentials(spec.upstream_auth, home, wire, has_query=not is_grpc)
        except BindError as error:
            faults += error.faults
        try:
            if spec.upstream.query:
                self._query = UpstreamQuery(spec.upstream.query, spec.route)
        except BindError as error:
            faults += error.faults
        faults += self._conflicts(spec)
        if faults:
            raise BindError(faults)
        self._combine()

    def _combine(self) -> None:
        """What each call needs, made once."""
        sent: StaticCredentials | None = self._credentials
        self.masked_fields: Collection[str] = frozenset(
            (*(sent.fields if sent else ()), *(name for name, value in self._fields.added if value.secret is not None))
        )
        self.masked_parameters: Collection[str] = frozenset(
            (
                *(sent.parameters if sent else ()),
                *(name for name, value in self._parameters.added if value.secret is not None),
            )
        )
        self._dropped_fields = self._fields.dropped | {*(sent.fields if sent else ())}
        if self._forwarded.headers != "none":
            self._dropped_fields |= _FORWARDED
        self._dropped_parameters = self._parameters.dropped | {*(sent.parameters if sent else ())}
        if self._query is not None:
            self._dropped_parameters |= self._query.names
        self._edits_query = bool(self._dropped_parameters or self._parameters.added or self._query)
        origins = [value.from_call for value in self._values]
        self.caching: Sequence[tuple[str, str]] = caching([origin for origin in origins if isinstance(origin, Origin)])

    @property
    def _values(self) -> Iterable[Value[Any]]:
        yield from (value for _, value in (*self._fields.added, *self._parameters.added))
        if self._credentials is not None:
            yield from self._credentials.values

    def _conflicts(self, spec: RouteSpec) -> Iterable[Fault]:
        """Two parts of the spec that say what one field holds."""
        if self._credentials is None:
            return
        for name in spec.headers.request.names:
            if name.lower() in self._credentials.fields:
                yield Fault(f"upstream_auth sends {name!r} already", ("headers", "request"))
        for name in spec.query.names:
            if name in self._credentials.parameters:
                yield Fault(f"upstream_auth sends {name!r} already", ("query",))

    @property
    def secrets(self) -> Collection[str]:
        return secret_texts(self._values)

    def sent(self, call: Call) -> Collection[str]:
        if self._credentials is None:
            return ()
        sent = self._credentials(call)
        return [value for _, value in (*sent.fields, *sent.parameters) if isinstance(value, str)]

    # --- for each call ---

    def apply(self, call: Call, outbound: Any) -> Any:
        fields = filled(self._fields.added, call)
        parameters = filled(self._parameters.added, call)
        if self._credentials is not None:
            sent = self._credentials(call)
            fields += sent.fields
            parameters += sent.parameters
        if call.forwarded is not None:
            fields += forwarded_fields(self._forwarded, call.forwarded)
        if isinstance(outbound, GrpcRequest):
            return replace(outbound, metadata=self._edited(outbound.metadata, fields))
        return self._http(call, outbound, fields, parameters)

    def _http(self, call: Call, outbound: HttpRequest, fields: list[Field], parameters: list[Field]) -> HttpRequest:
        path, host = outbound.path, outbound.host
        if self._edits_query:
            first = self._query(call) if self._query is not None else ""
            path = edited(path, first, self._dropped_parameters, parameters)
        if self._forwarded.host == "public" and call.forwarded is not None:
            host = call.forwarded.host or host
        return replace(outbound, path=path, headers=self._edited(outbound.headers, fields), host=host)

    def _edited(self, fields: Iterable[Field], added: list[Field]) -> list[Field]:
        dropped = self._dropped_fields
        return [*(field for field in fields if field[0].lower() not in dropped), *added]


def _without_http(spec: RouteSpec) -> Iterable[Fault]:
    """What a gRPC call does not have."""
    if spec.upstream.query:
        yield Fault("a gRPC call has no query", ("upstream",))
    if spec.query.model_fields_set:
        yield Fault("a gRPC call has no query; use headers, or the transformer's fields", ("query",))
    if spec.forwarded.host != "mesh":
        yield Fault("a gRPC call names the service in the mesh", ("forwarded", "host"))
