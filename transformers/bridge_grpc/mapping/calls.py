"""Settings of single methods: timeout and retries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from bridge.api import BindError, Fault, Retry, suggestion
from bridge_grpc.options import CallOptions, RetryOptions
from bridge_grpc.schema.pool import Method
from bridge_grpc.status import CODES

EVERY = "*"
_NUMBERS = {name: number for number, (name, _) in CODES.items()}
#: RFC 9110, section 9.2.2: methods that may be retried automatically.
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})


class Settings(NamedTuple):
    """The last fields of `bridge.api.GrpcRequest`. None: the route's own."""

    timeout: float | None = None
    retry: Retry | None = None
    idempotent: bool = False


DEFAULT = Settings()


class Calls:
    """The spec's ``calls``, validated.

    :param methods: what the route publishes.
    :param max_timeout: the route's own timeout, in seconds; a method's can't be longer.
    :raises bridge.api.BindError: unknown methods, or settings without effect; all faults at once.
    """

    def __init__(self, calls: Mapping[str, CallOptions], methods: Sequence[Method], max_timeout: float) -> None:
        self._calls = calls
        faults = [fault for name in calls for fault in _faults(name, calls[name], methods, max_timeout)]
        if faults:
            raise BindError(faults)

    def of(self, method: Method, verb: str) -> Settings:
        """The settings of a method that is published for the HTTP method `verb`. Each setting is looked up under the
        full name, then the short name, then ``*``."""
        options = [self._calls[name] for name in (method.full_name, method.name, EVERY) if name in self._calls]
        timeout = next((each.timeout for each in options if each.timeout is not None), None)
        retry = next((each.retry for each in options if each.retry is not None), None)
        idempotent = method.safe or verb in _IDEMPOTENT
        return Settings(timeout, None if method.streaming else _retry(retry, idempotent=idempotent), idempotent)


def no_method(name: str, methods: Sequence[Method]) -> str:
    """The message for an unknown method `name`, with the closest match."""
    hint = suggestion(name, [each for method in methods for each in (method.name, method.full_name)])
    hint = hint or f"; there are {', '.join(method.full_name for method in methods[:8])}"
    return f"the route publishes no such method{hint}"


def _retry(options: RetryOptions | None, *, idempotent: bool) -> Retry | None:
    """A call that isn't `idempotent` is retried only if the operator lists status codes."""
    if options is None or (options.codes is None and not idempotent):
        return None
    codes = frozenset(_NUMBERS[name] for name in options.codes or ("UNAVAILABLE",))
    return Retry(options.max_attempts, options.initial_backoff, options.max_backoff, options.multiplier, codes)


def _faults(name: str, options: CallOptions, methods: Sequence[Method], max_timeout: float) -> Iterator[Fault]:
    key = ("transform", "grpc", "calls", name)
    matches = [method for method in methods if name in (EVERY, method.full_name, method.name)]
    if not matches:
        yield Fault(no_method(name, methods), key)
    if options.timeout is not None and options.timeout > max_timeout:
        yield Fault(f"the route's own timeout of {max_timeout:g}s is shorter", (*key, "timeout"))
    if options.retry is None:
        return
    if matches and name != EVERY and all(method.streaming for method in matches):
        yield Fault("it streams, and what streams is never sent again", (*key, "retry"))
    if options.retry.max_backoff < options.retry.initial_backoff:
        yield Fault("it is shorter than initial_backoff", (*key, "retry", "max_backoff"))
    for code in options.retry.codes or ():
        if not _NUMBERS.get(code):
            yield Fault(f"{code!r} is no status that a call can fail with", (*key, "retry", "codes"))
