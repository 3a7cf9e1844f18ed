"""The transformer ``grpc``: a route's services, compiled when the route is bound."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor

from bridge.api import (
    BindError,
    Context,
    Fault,
    Followed,
    Operation,
    RouteSpec,
    ignored_query,
    parse_template,
    suggestion,
)
from bridge_grpc.codec.decode_json import Decoders
from bridge_grpc.codec.encode_json import Encoders
from bridge_grpc.importing import GrpcImport, import_spec
from bridge_grpc.mapping.binding import Binding, FieldConflictError
from bridge_grpc.mapping.calls import Calls
from bridge_grpc.mapping.http_rule import Capture, Template, to_core
from bridge_grpc.mapping.parameters import resolve
from bridge_grpc.mapping.rules import Place, Publication, Rule, publish
from bridge_grpc.mapping.success import successes
from bridge_grpc.mapping.value_sources import ValueSources, read_sources
from bridge_grpc.metadata import RequestMetadata, ResponseMetadata
from bridge_grpc.openapi.describe import Describer
from bridge_grpc.options import GrpcOptions
from bridge_grpc.reply_body import ReplyBody
from bridge_grpc.resumption import COUNTED, Resumption, resumptions
from bridge_grpc.schema.pool import Method, Schema, schema
from bridge_grpc.schema.reflected import Servers
from bridge_grpc.schema.sources import load
from bridge_grpc.service import GrpcService

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
        #: By route path: a sentence for each rule or file that is left out.
        self.skipped: dict[str, tuple[str, ...]] = {}

    async def open(self, context: Context) -> None:
        self._context, self._servers = context, Servers(context)

    async def aclose(self) -> None:
        self._context = self._servers = None
        self.skipped.clear()

    async def bind(self, route: RouteSpec, options: GrpcOptions) -> Sequence[Operation]:
        """:raises BindError: the schema can't be loaded, or rules can't be published; one fault for each."""
        if self._context is None or self._servers is None:
            raise BindError("the grpc transformer is not open")
        if route.transform.response != "json":
            reason = f"grpc answers in JSON; it can't answer {route.transform.response!r}"
            raise BindError(Fault(reason, ("transform", "response")))
        home = self._context.proto_dir.parent
        if options.reflection:
            answer = await self._servers.ask(route)
            grpc_schema, services = await asyncio.to_thread(schema, answer.files, str(route.upstream)), answer.services
            notes = list[str]()
        else:
            grpc_schema, services, notes = await load(options, self._context)
        try:
            operations, skipped = await asyncio.to_thread(
                lambda: _Compiler(route, options, grpc_schema, home).run(services)
            )
        except RecursionError:  # protobuf makes the classes of messages that contain one another by recursion
            reason = "too many of its messages contain one another in a circle"
            raise BindError(Fault(reason, ("transform", "grpc"))) from None
        self.skipped[route.route] = (*notes, *skipped)
        return operations

    def follow(self, route: RouteSpec, options: GrpcOptions) -> Followed | None:
        """The schema of a live server, which is queried once per ``refresh`` for all routes that name it."""
        servers, interval = self._servers, options.refresh
        if not options.reflection or interval == "off" or servers is None:
            return None

        async def fingerprint() -> bytes:
            return (await servers.ask(route, interval)).digest

        return Followed(interval, fingerprint)

    def notes(self, route: RouteSpec) -> Sequence[str]:
        """Which of the route's rules are not published, and why."""
        return self.skipped.get(route.route, ())

    async def import_spec(self, options: GrpcImport, context: Context) -> tuple[str, list[str]]:
        """:raises BindError: it can't be read or reached."""
        return await import_spec(options, context)


def finder(schema: Schema) -> Callable[[str], Descriptor | None]:
    """Full name -> message, from the route's schema, else from the common types that the gateway has installed."""
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


def auth_headers(route: RouteSpec) -> frozenset[str]:
    """The header fields that the route's auth reads and removes, in lower case."""
    auth: Any = route.auth
    kinds = getattr(auth, "any", (auth,))
    bearer = any(kind.type in ("JWT", "oauth2") for kind in kinds)
    keys = {kind.header.lower() for kind in kinds if kind.type == "api_key"}
    return frozenset(keys | ({"authorization"} if bearer else set()))


T = TypeVar("T")


class _Compiler:
    """One route's operations; used once."""

    def __init__(self, route: RouteSpec, options: GrpcOptions, schema: Schema, home: Path) -> None:
        self._route = route
        self._options = options
        self._schema = schema
        find = finder(schema)
        self._ignore = options.unknown == "ignore"
        short = options.short_enums or options.print.short_enums
        # setdefault is atomic: two routes that are bound at the same time share the first one's.
        self._decoders: Decoders = schema.codecs.setdefault(
            (self._ignore, short), Decoders(find, ignore=self._ignore, short=short)
        )
        self._encoders: Encoders = schema.codecs.setdefault(options.print, Encoders(find, options.print))
        self._describer = Describer(schema, options.print)
        self._wrong: list[Fault] = []
        credentials = auth_headers(route)
        self._request_metadata = self._sound(
            lambda: RequestMetadata(options.metadata, options.pass_headers, home, credentials),
            RequestMetadata(),
        )
        self._response_metadata = ResponseMetadata(options.reply_headers)
        self._decode_all = options.http.decode_all
        self._sources = self._sound(lambda: read_sources(options.fields, home), read_sources({}, home))
        template = parse_template(route.route)
        self._parameters = {name: name == template.rest for name in template.names}
        self._publication = Publication()
        self._faults = self._publication.faults
        self._names: dict[str, int] = {}
        self._templates: set[tuple[str, tuple[str, ...]]] = set()

    def run(self, service_names: Sequence[str]) -> tuple[list[Operation], list[str]]:
        """:raises BindError: with all that is wrong in the options and the rules."""
        operations = self._sound(lambda: self._operations_of(service_names), list[Operation]())
        if faults := [*self._wrong, *self._faults]:
            raise BindError(faults)
        return operations, self._publication.skipped

    def _sound(self, make: Callable[[], T], default: T) -> T:
        """What `make` returns; `default` where an option is wrong, so that the faults of others are told, too."""
        try:
            return make()
        except BindError as error:
            self._wrong += error.faults
            return default

    def _operations_of(self, service_names: Sequence[str]) -> list[Operation]:
        options, route = self._options, self._route
        methods = self._methods(service_names)
        method_name = options.method
        matches = [method for method in methods if method_name in (method.name, method.full_name)]
        called = matches or methods
        self._calls = self._sound(lambda: Calls(options.calls, called, route.timeout), Calls({}, called, route.timeout))
        self._success = self._sound(
            lambda: successes(options.statuses, options.locations, called, options.reply_headers),
            successes({}, {}, called),
        )
        none = dict[str, Resumption]()
        self._resumptions = self._sound(lambda: resumptions(options.events, called, self._encoders), none)
        if method_name is not None:
            operations, methods = self._single_method(methods, method_name), matches
        else:
            all_methods = {m.full_name: m for service in self._schema.services.values() for m in service}
            self._publication = publish(
                route.route, methods, options.http_rules, all_methods, strict=options.strict, problem=self._problem
            )
            self._faults = self._publication.faults
            self._templates = {(rule.http_method, rule.template.key()) for rule in self._publication.rules}
            operations = [op for rule in self._publication.rules for op in self._operations(rule)]
        self._unknown_fields({rule.method.input for rule in self._publication.rules} or {m.input for m in methods})
        return operations

    def _methods(self, service_names: Sequence[str]) -> list[Method]:
        service, services = self._options.service, self._schema.services
        if service is None:
            if not service_names:
                raise BindError(Fault("its schema has no service", ("transform", "grpc")))
            return [method for name in service_names for method in services[name]]
        matches = [service] if service in services else [name for name in services if name.endswith(f".{service}")]
        if len(matches) != 1:
            names = ", ".join(matches or services) or "none"
            hint = suggestion(service, services)
            reason = f"{len(matches) or 'no'} services are named {service!r}; there are {names}{hint}"
            raise BindError(Fault(reason, ("transform", "grpc", "service")))
        return list(services[matches[0]])

    def _unknown_fields(self, messages: Collection[Descriptor]) -> None:
        """Report fields in the spec that no request message has."""
        for source in self._sources:
            if not any(resolve(message, source.path) for message in messages):
                names = ", ".join(sorted(message.full_name for message in messages)[:5])
                self._faults.append(Fault(f"it is not a field of what is published ({names})", source.key))

    # --- one method at the route itself ----------------------------------------------------------------------------

    def _single_method(self, methods: Sequence[Method], name: str) -> list[Operation]:
        matches = [method for method in methods if name in (method.name, method.full_name)]
        if len(matches) != 1:
            names = ", ".join(method.full_name for method in matches or methods)
            hint = suggestion(name, [each for method in methods for each in (method.name, method.full_name)])
            reason = f"{len(matches) or 'no'} methods are named {name!r}; there are {names}{hint}"
            raise BindError(Fault(reason, ("transform", "grpc", "method")))
        method = matches[0]
        for parameter in self._parameters:
            if resolve(method.input, parameter.split(".")) is None:
                reason = f"its parameter {parameter!r} is not a field of {method.input.full_name}"
                self._faults.append(Fault(reason, ("route",)))
        place = Place(f"method {method.full_name}", path=("transform", "grpc", "method"))
        operations = []
        for verb in self._route.methods or ("POST",):
            body = "*" if verb in _WITH_BODY else ""
            operations += self._operation(method, verb, "", self._route_captures(method), body, "", place)
        return operations

    def _route_captures(self, method: Method, path_captures: Sequence[Capture] = ()) -> list[Capture]:
        """The route's own parameters bind to the request's fields of the same names."""
        path_fields = {capture.field_path for capture in path_captures}
        captures = []
        for name, several in self._parameters.items():
            path = tuple(name.split("."))
            if path not in path_fields and resolve(method.input, path) is not None:
                captures.append(Capture(path, ((name,),), several, self._decode_all))
        return captures

    # --- rules -----------------------------------------------------------------------------------------------------

    def _problem(self, rule: Rule) -> str:
        """Why `rule` can't be bound; ``""`` if it can."""
        try:
            _, captures = to_core(rule.template)
            self._binding(rule.method, captures, rule.body)
            ReplyBody(rule.method.output, rule.response_body, self._encoders)
        except (BindError, FieldConflictError):  # of the spec itself, which is reported for each operation
            return ""
        except ValueError as error:
            return f"{rule.method.full_name}: {error}"
        return ""

    def _operations(self, rule: Rule) -> list[Operation]:
        path, captures = to_core(rule.template, frozenset(self._parameters), decode_all=self._decode_all)
        all_captures = [*captures, *self._route_captures(rule.method, captures)]
        groups = [self._rule_operations(rule, path, all_captures)]
        if rule.template.text == "/" and groups[0] and not self._route.route.endswith("/"):
            groups.append(self._rule_operations(rule, "/", all_captures))  # as the rule says, and as people write it
        if groups[0] and rule.template.open_ended:
            # "**" matches zero or more segments, but the core's {name*} needs a slash: zero segments need another path.
            stem, _, parameter = path.rpartition("/")
            name, colon, verb = parameter.partition(":")
            key = rule.http_method, _shorter(rule.template)
            if key not in self._templates and (stem or not verb):
                self._templates.add(key)
                shorter = [_without(capture, name.strip("{*}")) for capture in all_captures]
                groups.append(self._rule_operations(rule, stem + colon + verb, shorter))
        return [operation for operations in groups for operation in operations]

    def _rule_operations(self, rule: Rule, path: str, captures: Sequence[Capture]) -> list[Operation]:
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
        """One pattern of a rpc; none where it can't be served."""
        patch = verb == "PATCH" and body not in ("", "*")
        try:
            binding = self._binding(method, captures, body, patch=patch)
            service = GrpcService(
                method,
                binding,
                self._encoders,
                self._request_metadata,
                self._response_metadata,
                response_body=response_body,
                success=self._success(method),
                settings=self._calls.of(method, verb),
                frames=self._frames(method, binding),
                resumption=self._resumptions.get(method.full_name, COUNTED),
                own_path=(verb, path, body, response_body) == ("POST", method.path, "*", ""),
            )
        except FieldConflictError as error:
            self._faults.append(place.fault(f"{method.full_name}: {error}"))
            return []
        except ValueError as error:
            self._publication.leave_out(place, f"{method.full_name}: {error}")
            return []
        except BindError as error:  # a constant of the spec; the same for every rule
            self._faults += [fault for fault in error.faults if fault not in self._faults]
            return []
        describe = self._describer.operation(method, binding, response_body, self._success(method))
        codec = None if method.streaming else service
        ignored = self._ignored_query(binding)
        return [Operation(self._name(method), verb, path, codec, describe, method.path, service, ignored)]

    def _ignored_query(self, binding: Binding) -> frozenset[str]:
        """A ready set's names are ignored where they are no parameters of the request; others in any case."""
        names = self._options.ignore_query
        return frozenset(
            name
            for name in ignored_query(names)
            if name in names or binding.query is None or isinstance(binding.query.target(name), str)
        )

    def _binding(self, method: Method, captures: Sequence[Capture], body: str, *, patch: bool = False) -> Binding:
        sources = ValueSources(method.input, self._sources, self._decoders)
        return Binding(
            method.input,
            captures,
            body,
            self._decoders,
            sources=sources,
            ignore=self._ignore,
            patch=patch,
            items=self._options.query_items,
            strict=self._options.strict,
        )

    def _frames(self, method: Method, binding: Binding) -> Binding | None:
        """The binding of a WebSocket's frames, if the rule has no body."""
        if not method.client_streaming or binding.body:
            return None
        return self._binding(method, [capture for capture, _ in binding.captures], "*")

    def _name(self, method: Method) -> str:
        """Unique in the route: the first pattern of an rpc has its name, further ones have a number added."""
        short = method.name if len(self._schema.services) == 1 else f"{method.service.rpartition('.')[2]}.{method.name}"
        count = self._names[short] = self._names.get(short, 0) + 1
        return short if count == 1 else f"{short}.{count}"


def _shorter(template: Template) -> tuple[str, ...]:
    """The key of `template` without its last segment."""
    *segments, _, verb = template.key()
    return (*segments, verb)


def _without(capture: Capture, name: str) -> Capture:
    """`capture` for a path without the parameter `name`: its text is empty."""
    return replace(capture, pieces=tuple("" if p == (name,) else p for p in capture.pieces))
