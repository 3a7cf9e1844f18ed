"""How clients of server-sent events go on after a lost connection: the spec's ``events``, judged once for the route."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bridge.api import BindError, Fault
from bridge_grpc.codec.encode_json import Encoders
from bridge_grpc.event_id import EventId
from bridge_grpc.mapping.calls import no_method
from bridge_grpc.mapping.parameters import Target, resolve
from bridge_grpc.options import Events
from bridge_grpc.schema.pool import Method

RETRY = 3000  #: milliseconds


@dataclass(frozen=True, slots=True)
class Resumption:
    """How a client of server-sent events goes on where it was.

    :ivar event_id: finds an event's id in the answer; None: events are counted.
    :ivar target: the request's field that takes ``Last-Event-ID``.
    :ivar retry: milliseconds after which it comes back.
    """

    event_id: EventId | None = None
    target: Target | None = None
    retry: int = RETRY


COUNTED = Resumption()


class Resumptions:
    """By method, in full or short.

    :param methods: what the route publishes.
    :raises bridge.api.BindError: a name that no method or field has, or that can't be what it is to be; all that are
        found.
    """

    def __init__(self, events: Mapping[str, Events], methods: Sequence[Method], encoders: Encoders) -> None:
        self._made: dict[str, Resumption] = {}
        self._faults: list[Fault] = []
        for name, options in events.items():
            named = [method for method in methods if name in (method.full_name, method.name)]
            key = f"transform.grpc.events.{name}"
            if not named:
                self._fault(no_method(name, methods), key)
            elif not any(method.server_streaming for method in named):
                self._fault("it answers once, and events are a stream's", key)
            for method in named:
                # A method's full name counts more than its short one.
                if method.server_streaming and (name == method.full_name or method.full_name not in events):
                    self._made[method.full_name] = self._resumption(method, options, encoders, key)
        if self._faults:
            raise BindError(self._faults)

    def of(self, method: Method) -> Resumption:
        return self._made.get(method.full_name, COUNTED)

    def _resumption(self, method: Method, options: Events, encoders: Encoders, key: str) -> Resumption:
        event_id = target = None
        if options.id:
            try:
                event_id = EventId(method.output, options.id, encoders)
            except ValueError as error:
                self._fault(str(error), f"{key}.id")
        if options.resume:
            target = resolve(method.input, options.resume.split("."))
            if target is None:
                self._fault(f"{options.resume!r} is not a field of {method.input.full_name}", f"{key}.resume")
            elif target.text is None:
                self._fault(f"{options.resume!r} has no text of its own", f"{key}.resume")
            elif target.field.is_repeated:
                self._fault(f"{options.resume!r} is a list, and the last id is one value", f"{key}.resume")
        return Resumption(event_id, target, round(options.retry * 1000))

    def _fault(self, reason: str, key: str) -> None:
        fault = Fault(reason, key)
        if fault not in self._faults:
            self._faults.append(fault)
