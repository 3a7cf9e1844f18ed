"""Fronts in front of services: which client protocols a route's operations speak, and the codec of each pair.

A front's distribution declares::

    [project.entry-points."bridge.fronts"]
    ndjson = "bridge.fronts.ndjson:Ndjson"
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from enum import Enum
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from bridge.api.call import JSON_TYPE, Call, GrpcReply, GrpcRequest, Reply
from bridge.api.capabilities import Forkable, capability
from bridge.api.front import Form, Front
from bridge.api.service import Service
from bridge.api.spec.route import RouteSpec
from bridge.api.stream import WEBSOCKET, StreamCodec, StreamTranslation
from bridge.api.transformer import Operation
from bridge.errors import BindError, Fault
from bridge.fronts.rest_json import RestStreamCodec
from bridge.fronts.stream_doc import streaming
from bridge.fronts.unmatched import Unmatched
from bridge.http.template import parse_template
from bridge.plugins import discover

GROUP = "bridge.fronts"


class _Kept(Enum):
    """In `Call.state`, which may have to cross processes: the call is plain JSON."""

    PLAIN = "plain"


def load(points: Iterable[EntryPoint] | None = None) -> list[Front]:
    """A new one of each front.

    :param points: instead of the installed ones.
    :raises ConflictError: two distributions offer one name.
    :raises BindError: one can't be imported or made.
    """
    fronts: list[Front] = []
    for name, point in discover(entry_points(group=GROUP) if points is None else points).items():
        try:
            fronts.append(point.load()())
        except Exception as error:  # a plug-in may fail in any way
            raise BindError(Fault(f"the front {name!r} ({point.value}) can't be loaded: {error}")) from error
    return fronts


class Fronts:
    """All fronts of a gateway."""

    def __init__(self, fronts: Sequence[Front] | None = None) -> None:
        self._fronts = sorted(load() if fronts is None else fronts, key=lambda front: (front.rank, front.name))
        self._forms = {kind: form for front in self._fronts for kind, form in front.forms.items()}
        self._marks = tuple(mark for front in self._fronts for mark in front.marks.items())
        self._formats = {kind: make for front in self._fronts for kind, make in front.formats.items()}
        #: Header fields by which clients say how long they wait, and their readers (`bridge.api.Front.timeouts`).
        self.timeouts = {field: read for front in self._fronts for field, read in front.timeouts.items()}

        own = {kind: form for front in self._fronts if front.own_statuses for kind, form in front.forms.items()}
        #: Refuses calls for which nothing is published.
        self.unmatched = Unmatched(lambda call: own.get(_type_of(call)) if call.method == "POST" else None)

    def form_of(self, call: Call) -> Form | None:
        """The form of another protocol that a POST speaks; None: it is plain JSON, or nothing that a front reads."""
        if call.method != "POST":
            return None
        headers = call.headers
        if JSON_TYPE not in headers:  # as nearly every call has it
            kind = _type_of(call)
            if kind != "application/json":
                return self._forms.get(kind)
        for mark, form in self._marks:
            if mark in headers:
                return form
        return None

    def publish(self, spec: RouteSpec, operations: Iterable[Operation]) -> list[Operation]:
        """A route's `operations` in every protocol, as far as the spec's methods allow.

        :raises BindError: they allow none of them.
        """
        published = list(self._published(list(operations)))
        if spec.methods:
            # A WebSocket's handshake is a GET.
            allowed = {"*", *spec.methods, *({WEBSOCKET} if "GET" in spec.methods else ())}
            published = [operation for operation in published if operation.method in allowed]
        if not published:
            methods = f" by {', '.join(spec.methods)}" if spec.methods else ""
            raise BindError(Fault(f"{spec.transform.request} has nothing to publish{methods}", ("methods",)))
        return published

    def _published(self, operations: Sequence[Operation]) -> Iterator[Operation]:
        names = {operation.name for operation in operations}
        taken = {(operation.method, _shape(operation.path)) for operation in operations}
        for plain in operations:
            service = plain.service
            if service is None:
                yield plain
                continue
            operation = self._fronted(plain, service)
            yield operation
            for front in self._fronts:
                for other in front.operations(operation, service):
                    shape = _shape(other.path)
                    if (other.method, shape) in taken or (other.method != WEBSOCKET and ("*", shape) in taken):
                        continue
                    taken.add((other.method, shape))
                    name = other.name
                    while name in names:
                        name = _next(name)
                    names.add(name)
                    yield replace(other, name=name)

    def _fronted(self, operation: Operation, service: Service) -> Operation:
        if operation.codec is not None:
            unary = FrontedCodec(operation.codec, service, self) if service.own_path else operation.codec
            return replace(operation, codec=unary)
        codec: StreamCodec = RestStreamCodec(service, self._formats)
        if service.own_path:
            codec = FrontedStreamCodec(codec, service, self)
        return replace(operation, codec=codec, describe=streaming(operation.describe, service))


def _type_of(call: Call) -> str:
    return call.header("content-type").partition(";")[0].strip().lower()


def _shape(path: str) -> object:
    """Equal for templates that take the same paths."""
    return parse_template(path).key if path else None


def _next(name: str) -> str:
    """``Get`` -> ``Get.2`` -> ``Get.3``."""
    stem, _, number = name.rpartition(".")
    return f"{stem}.{int(number) + 1}" if number.isdigit() else f"{name}.2"


class _Fronted:
    """`bridge.api.capabilities.Refusing`."""

    __slots__ = ("_form_of", "_service", "show")

    def __init__(self, service: Service, fronts: Fronts) -> None:
        self._service, self._form_of = service, fronts.form_of
        self.show = service.show

    @property
    def secrets(self) -> Collection[str]:
        return self._service.secrets

    def undoes_coding(self, call: Call) -> bool:
        """`bridge.api.capabilities.CodingAware`: the other protocols have rules of their own for it."""
        return self._form_of(call) is not None

    def refusal(self, call: Call, problem: Mapping[str, Any], reply: Reply) -> Reply:
        form = self._form_of(call)
        return reply if form is None else form.refusal(call, self._service, problem, reply)


class FrontedCodec(_Fronted):
    """`bridge.api.GrpcCodec` of a method's own path. The form stays in `Call.state` from `request` to `reply`.

    :param plain: the fused codec of plain JSON; it keeps nothing in `Call.state`.
    """

    __slots__ = ("_forkable", "_plain_reply", "_plain_request")

    def __init__(self, plain: Any, service: Service, fronts: Fronts) -> None:
        super().__init__(service, fronts)
        self._forkable = capability(plain, Forkable)
        self._plain_request: Callable[[Call], GrpcRequest] = plain.request
        self._plain_reply: Callable[[Call, GrpcReply], Reply] = plain.reply

    def request(self, call: Call) -> GrpcRequest:
        form = self._form_of(call)
        call.state = form or _Kept.PLAIN
        if form is None:
            return self._plain_request(call)
        return form.request(call, self._service)

    def forks(self, call: Call, inbound: GrpcReply | None) -> bool:
        """`bridge.api.capabilities.Forkable`: the service is, and other forms stay in `Call.state` as they are."""
        return self._forkable is not None and self._form_of(call) is None and self._forkable.forks(call, inbound)

    def reply(self, call: Call, inbound: GrpcReply) -> Reply:
        form: Form | _Kept | None = call.state or self._form_of(call)
        if form is None or form is _Kept.PLAIN:
            return self._plain_reply(call, inbound)
        reply = form.reply(call, self._service, inbound)
        reply.headers += self._service.caching
        return reply


class FrontedStreamCodec(_Fronted):
    """`bridge.api.stream.StreamCodec` of a method's own path.

    :param plain: opens calls in plain JSON.
    """

    __slots__ = ("_plain", "streams_up")

    def __init__(self, plain: StreamCodec, service: Service, fronts: Fronts) -> None:
        super().__init__(service, fronts)
        self._plain, self.streams_up = plain, plain.streams_up

    def open(self, call: Call) -> StreamTranslation:
        form = self._form_of(call)
        return self._plain.open(call) if form is None else form.open(call, self._service)
