"""How clients of a stream continue after a lost connection: the spec's ``events``, compiled once for the route."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bridge.api import BindError, Fault, KeyPath
from bridge_grpc.codec.encode_json import Encoders
from bridge_grpc.event_id import EventId
from bridge_grpc.mapping.calls import no_method
from bridge_grpc.mapping.parameters import Target, resolve
from bridge_grpc.options import EventOptions
from bridge_grpc.schema.pool import Method

RETRY = 3000  #: milliseconds


@dataclass(frozen=True, slots=True)
class Resumption:
    """How a client continues where it was.

    :ivar event_id: reads the id from a reply message; None: messages are counted.
    :ivar target: the request's field that takes the last id.
    :ivar retry: milliseconds after which the client reconnects.
    """

    event_id: EventId | None = None
    target: Target | None = None
    retry: int = RETRY


COUNTED = Resumption()


def resumptions(
    events: Mapping[str, EventOptions], methods: Sequence[Method], encoders: Encoders
) -> dict[str, Resumption]:
    """By a method's full name; `events` may use the full or the short name.

    :param methods: what the route publishes.
    :raises bridge.api.BindError: a method or field doesn't exist, or has the wrong type; all faults at once.
    """
    by_method: dict[str, Resumption] = {}
    faults: list[Fault] = []
    for name, options in events.items():
        matches = [method for method in methods if name in (method.full_name, method.name)]
        key = ("transform", "grpc", "events", name)
        if not matches:
            faults.append(Fault(no_method(name, methods), key))
        elif not any(method.server_streaming for method in matches):
            faults.append(Fault("it answers once, and events are a stream's", key))
        for method in matches:
            # A method's full name takes precedence over its short one.
            if method.server_streaming and (name == method.full_name or method.full_name not in events):
                by_method[method.full_name] = _resumption(method, options, encoders, key, faults)
    if faults:
        raise BindError(list(dict.fromkeys(faults)))
    return by_method


def _resumption(
    method: Method, options: EventOptions, encoders: Encoders, key: KeyPath, faults: list[Fault]
) -> Resumption:
    event_id = target = None
    if options.id:
        try:
            event_id = EventId(method.output, options.id, encoders)
        except ValueError as error:
            faults.append(Fault(str(error), (*key, "id")))
    if options.resume:
        target = resolve(method.input, options.resume.split("."))
        reason = ""
        if target is None:
            reason = f"is not a field of {method.input.full_name}"
        elif target.text is None:
            reason = "has no text of its own"
        elif target.field.is_repeated:
            reason = "is a list, and the last id is one value"
        if reason:
            faults.append(Fault(f"{options.resume!r} {reason}", (*key, "resume")))
    return Resumption(event_id, target, round(options.retry * 1000))
