"""The transformer ``grpc``: a route's services, compiled when the route is bound."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor

from bridge.api import BindError, Context, Fault, Followed, Operation, RouteSpec
from bridge_grpc.codec.decode_json import Decoders
from bridge_grpc.codec.encode_json import Encoders
from bridge_grpc.importing import GrpcImport, import_spec
from bridge_grpc.mapping.binding import Binding
from bridge_grpc.mapping.calls import Calls
from bridge_grpc.mapping.fills import Fills, sources
from bridge_grpc.mapping.http_rule import Capture, Template, to_core
from bridge_grpc.mapping.parameters import resolve
from bridge_grpc.mapping.rules import Place, Published, Rule, publish
from bridge_grpc.metadata import RequestMetadata, ResponseMetadata
from bridge_grpc.openapi.describe import Describer
from bridge_grpc.options import GrpcOptions
from bridge_grpc.resumption import COUNTED, resumptions
from bridge_grpc.schema.pool import Method, Schema, schema
from bridge_grpc.schema.reflected import Servers
from bridge_grpc.schema.sources import load
from bridge_grpc.service import GrpcService

_ROUTE_PARAMETER = re.compile(r"\{([^}*]+)(\*?)\}")
#: Types that an error detail or an Any may hold although the service's schema doesn't have them.
_COMMON = ("google.rpc.", "google.protobuf.", "google.type.", "google.api.")
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


class Grpc:
    """JSON in front of gRPC services: ``google.api.http`` rules and automatic POST paths for every method."""

    name: ClassVar[str] = "grpc"
    wire: ClassVar[str] = "grpc"
    options: ClassVar[type[GrpcOptions]] = GrpcOptions
    import_options: ClassVar[type[GrpcImport]] = GrpcImport

    def __init__(self) -> None:
        self._context: Context | None = None
        self._servers: Servers | None = None
        #: By route path: a sentence on each thing that is not published.
        self.skipped: dict[str, tuple[str, ...]] = {}

    async def open(self, context: Context) -> None:
        self._context, self._servers = context, Servers(context)

    async def aclose(self) -> None:
        self._context = self._servers = None
        self.skipped.clear()

    async def bind(self, route: RouteSpec, options: GrpcOptions) -> Sequence[Operation]:
        """:raises BindError: the schema can't be had, or rules can't be published; each has a fault."""
        if self._context is None or self._servers is None:
            raise BindError("the grpc transformer is not open")
        if route.transform.response != "json":
            reason = f"grpc answers in JSON; it can't answer {route.transform.response!r}"
            raise BindError(Fault(reason, "transform.response"))
        home = self._context.proto_dir.parent
        if options.reflection:
            answer = await self._servers.ask(route)
            compiled, services = await asyncio.to_thread(schema, answer.files, str(route.upstream)), answer.services
            notes = list[str]()
        else:
            compiled, services, notes = await load(options, self._context)
        try:
            operations, skipped = await asyncio.to_thread(
                lambda: _Compiler(route, options, compiled, home).run(services)
            )
        except RecursionError:  # protobuf makes the classes of messages that contain one another by recursion
            reason = "too many of its messages contain one another in a circle"
            raise BindError(Fault(reason, "transform.grpc")) from None
        self.skipped[route.route] = (*notes, *skipped)
        return operations

    def follow(self, route: RouteSpec, options: GrpcOptions) -> Followed | None:
        """The schema of a live server, which is asked once in ``refresh`` for all routes that name it."""
        servers, every = self._servers, options.refresh
        if not options.reflection or every == "off" or servers is None:
            return None

        async def fingerprint() -> bytes:
            return (await servers.ask(route, every)).digest

        return Followed(every, fingerprint)

    def notes(self, route: RouteSpec) -> Sequence[str]:
        """What of the route's services is not published, and why."""
        return self.skipped.get(route.route, ())

    async def import_spec(self, options: GrpcImport, context: Context) -> tuple[str, list[str]]:
        """:raises BindError: it can't be read or reached."""
        return await import_spec(options, context)


def finder(schema: Schema) -> Callable[[str], Descriptor | None]:
    """Full name -> message, in the route's schema, else among the common types that are installed with the gateway."""
    from google.rpc import error_details_pb2  # noqa: F401  # registers them in the default pool

    def find(name: str) -> Descriptor | None:
        for pool in (schema.pool, descriptor_pool.Default()):
            if pool is not schema.pool and not name.startswith(_COMMON):
                return None
            try:
                return pool.FindMessageTypeByName(name)
            except KeyError:
                continue
        return None

    return find


def consumed(route: RouteSpec) -> frozenset[str]:
    """The header fields that the route's auth reads and that go no further, in lower case."""
    auth: Any = route.auth
    kinds = getattr(auth, "any", (auth,))
    bearer = any(kind.type in ("JWT", "oauth2") for kind in kinds)
    keys = {kind.header.lower() for kind in kinds if kind.type == "api_key"}
    return frozenset(keys | ({"authorization"} if bearer else set()))


class _Compiler:
    """One route's operations; used once."""

    def __init__(self, route: RouteSpec, options: GrpcOptions, schema: Schema, home: Path) -> None:
        self._route = route
        self._options = options
        self._schema = schema
        find = finder(schema)
        self._ignore = options.unknown == "ignore"
        # setdefault is atomic: two routes that are bound at the same time share the first one's.
        self._decoders: Decoders = schema.codecs.setdefault(self._ignore, Decoders(find, ignore=self._ignore))
        self._encoders: Encoders = schema.codecs.setdefault(options.print, Encoders(find, options.print))
        self._describer = Describer(schema, options.print)
        self._sent = RequestMetadata(options.metadata, options.pass_headers, home, consumed(route))
        self._returned = ResponseMetadata(options.reply_headers)
        self._decode_all = options.http.decode_all
        self._sources = sources(options.fields, home)
        self._parameters = {name: bool(star) for name, star in _ROUTE_PARAMETER.findall(route.route)}
        self._faults: list[Fault] = []
        self._names: dict[str, int] = {}
        self._claimed: set[tuple[str, ...]] = set()

    def run(self, offered: Sequence[str]) -> tuple[list[Operation], list[str]]:
        methods = self._methods(offered)
        one = self._options.method
        alone = [method for method in methods if one in (method.name, method.full_name)]
        self._calls = Calls(self._options.calls, alone or methods, self._route.timeout)
        self._resumptions = resumptions(self._options.events, alone or methods, self._encoders)
        if one is not None:
            operations, published, methods = self._one(methods, one), Published(), alone
        else:
            known = {m.full_name: m for service in self._schema.services.values() for m in service}
            published = publish(self._route.route, methods, self._options.http_rules, known)
            self._claimed = {rule.template.key() for rule in published.rules}
            operations = [op for rule in published.rules for op in self._operations(rule)]
        self._unknown_fields({rule.method.input for rule in published.rules} or {m.input for m in methods})
        if self._faults:
            raise BindError(self._faults)
        return operations, published.skipped

    def _methods(self, offered: Sequence[str]) -> list[Method]:
        service, services = self._options.service, self._schema.services
        if service is None:
            if not offered:
                raise BindError(Fault("its schema has no service", "transform.grpc"))
            return [method for name in offered for method in services[name]]
        matches = [service] if service in services else [name for name in services if name.endswith(f".{service}")]
        if len(matches) != 1:
            listed = ", ".join(matches or services) or "none"
            reason = f"{len(matches) or 'no'} services are named {service!r}; there are {listed}"
            raise BindError(Fault(reason, "transform.grpc.service"))
        return list(services[matches[0]])

    def _unknown_fields(self, messages: Collection[Descriptor]) -> None:
        """Report fields in the spec that no request has."""
        for source in self._sources:
            if not any(resolve(message, source.path) for message in messages):
                names = ", ".join(sorted(message.full_name for message in messages)[:5])
                self._faults.append(Fault(f"it is not a field of what is published ({names})", source.key))

    # --- one method at the route itself ----------------------------------------------------------------------------

    def _one(self, methods: Sequence[Method], name: str) -> list[Operation]:
        matches = [method for method in methods if name in (method.name, method.full_name)]
        if len(matches) != 1:
            listed = ", ".join(method.full_name for method in matches or methods)
            reason = f"{len(matches) or 'no'} methods are named {name!r}; there are {listed}"
            raise BindError(Fault(reason, "transform.grpc.method"))
        method = matches[0]
        for parameter in self._parameters:
            if resolve(method.input, parameter.split(".")) is None:
                reason = f"its parameter {parameter!r} is not a field of {method.input.full_name}"
                self._faults.append(Fault(reason, "route"))
        place = Place(f"method {method.full_name}", key="transform.grpc.method")
        operations = []
        for verb in self._route.methods or ("POST",):
            body = "*" if verb in _WITH_BODY else ""
            operations += self._operation(method, verb, "", self._route_captures(method), body, "", place)
        return operations

    def _route_captures(self, method: Method, taken: Sequence[Capture] = ()) -> list[Capture]:
        """The route's own parameters fill the request's fields of the same names."""
        bound = {capture.field_path for capture in taken}
        captures = []
        for name, several in self._parameters.items():
            path = tuple(name.split("."))
            if path not in bound and resolve(method.input, path) is not None:
                captures.append(Capture(path, ((name,),), several, self._decode_all))
        return captures

    # --- rules -----------------------------------------------------------------------------------------------------

    def _operations(self, rule: Rule) -> list[Operation]:
        path, captures = to_core(rule.template, frozenset(self._parameters), decode_all=self._decode_all)
        everything = [*captures, *self._route_captures(rule.method, captures)]
        made = [self._ruled(rule, path, everything)]
        if rule.template.open_ended and not rule.template.verb and _shorter(rule.template) not in self._claimed:
            # "**" matches zero or more segments; the core's {name*} wants its slash, so zero is a path of its own.
            stem, _, parameter = path.rpartition("/")
            name = parameter.strip("{*}")
            made.append(self._ruled(rule, stem, [_without(capture, name) for capture in everything]))
        return [operation for operations in made for operation in operations]

    def _ruled(self, rule: Rule, path: str, captures: Sequence[Capture]) -> list[Operation]:
        return self._operation(rule.method, rule.http_method, path, captures, rule.body, rule.response_body, rule.place)

    def _operation(
        self,
        method: Method,
        verb: str,
        path: str,
        captures: Sequence[Capture],
        body: str,
        response_body: str,
        place: Place,
    ) -> list[Operation]:
        """One pattern of a rpc; none where it is faulty."""
        patch = verb == "PATCH" and body not in ("", "*")
        try:
            binding = self._binding(method, captures, body, patch=patch)
            service = GrpcService(
                method,
                binding,
                self._encoders,
                self._sent,
                self._returned,
                response_body=response_body,
                settings=self._calls.of(method, verb),
                frames=self._frames(method, binding),
                resumption=self._resumptions.get(method.full_name, COUNTED),
                own_path=(verb, path, body, response_body) == ("POST", method.path, "*", ""),
            )
        except ValueError as error:
            self._faults.append(place.fault(f"{method.full_name}: {error}"))
            return []
        except BindError as error:  # a constant of the spec; the same for every rule
            self._faults += [fault for fault in error.faults if fault not in self._faults]
            return []
        describe = self._describer.operation(method, binding, response_body)
        codec = None if method.streaming else service
        return [Operation(self._name(method), verb, path, codec, describe, method.path, service)]

    def _binding(self, method: Method, captures: Sequence[Capture], body: str, *, patch: bool = False) -> Binding:
        fills = Fills(method.input, self._sources, self._decoders)
        return Binding(method.input, captures, body, self._decoders, fills=fills, ignore=self._ignore, patch=patch)

    def _frames(self, method: Method, binding: Binding) -> Binding | None:
        """What binds a WebSocket's frames, where the rule has no body for them."""
        if not method.client_streaming or binding.body:
            return None
        return self._binding(method, [capture for capture, _ in binding.captures], "*")

    def _name(self, method: Method) -> str:
        """Unique in the route: the first pattern of a rpc has its name, the next ones a number."""
        short = method.name if len(self._schema.services) == 1 else f"{method.service.rpartition('.')[2]}.{method.name}"
        count = self._names[short] = self._names.get(short, 0) + 1
        return short if count == 1 else f"{short}.{count}"


def _shorter(template: Template) -> tuple[str, ...]:
    """The key of `template` without its last segment."""
    *segments, _, verb = template.key()
    return (*segments, verb)


def _without(capture: Capture, name: str) -> Capture:
    """`capture` for a path that lacks the parameter `name`: its text is empty there."""
    return replace(capture, pieces=tuple("" if p == (name,) else p for p in capture.pieces))
