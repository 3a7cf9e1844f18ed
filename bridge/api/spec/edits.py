"""`headers` and `query`: what a route sets, adds and removes on the way to its service, and on the way back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, model_validator

from bridge.api.spec.scalars import Model
from bridge.api.values import is_origin, read_origin
from bridge.errors import BindError
from bridge.http.forwarding import FRAMING, HOP_BY_HOP
from bridge.http.token import is_token

MAX_EDITS = 64  #: entries of one block
_LONGEST = 256  #: characters of a name

#: The gateway's own, in both directions.
_TRACE = frozenset(("x-trace-id", "traceparent"))
#: Fields of requests that have keys of their own, or are the transport's.
_REQUEST_KEYS = {
    **dict.fromkeys(("forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"), "use the key forwarded"),
    "host": "use the key forwarded: {host: …}",
    "accept-encoding": "the gateway says itself which codings it reads",
}
#: Fields of responses that are about the body, the client's credentials or the gateway itself.
_RESPONSE_OWN = frozenset(
    ("content-type", "content-encoding", "content-range", "date", "server", "www-authenticate", "x-cache", "age")
)
_RESPONSE_FAMILIES = ("ratelimit", "x-ratelimit-", "sec-websocket-")


def check_value(value: Any) -> Any:
    """`value`, if it can stand where a text is sent: a text, a number, true, false, or an origin.

    :raises ValueError: it can't.
    """
    if isinstance(value, dict):
        if not is_origin(value):
            raise ValueError("a text is wanted, or where it comes from: $env, $file, $header or $claim")
        try:
            read_origin(value, ())
        except BindError as error:
            raise ValueError("; ".join(map(str, error.faults))) from None
    elif not isinstance(value, str | int | float):
        raise ValueError("a text is wanted, or where it comes from: $env, $file, $header or $claim")
    return value


#: One value, which `bridge.api.values.Value` compiles.
SpecValue = Annotated[Any, AfterValidator(check_value)]


def _no_literal(value: Any) -> Any:
    """:raises ValueError: a secret stands in the spec itself."""
    if not is_origin(value):
        raise ValueError(
            "a spec never contains a secret; name one, as {$env: BRIDGE_SECRET_NAME} or {$file: secrets/name}"
        )
    return check_value(value)


#: A value that is never in the spec itself, and that nothing shows.
SecretValue = Annotated[Any, AfterValidator(_no_literal)]


#: One or several of them.
SpecValues = Annotated[
    tuple[SpecValue, ...],
    BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else (value,)),
    Field(strict=False, min_length=1, max_length=MAX_EDITS),
    PlainSerializer(lambda values: values[0] if len(values) == 1 else list(values)),
]
Listed = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value),
    Field(strict=False, max_length=MAX_EDITS),
]


def _once(names: Iterable[str], *, fold: bool) -> None:
    seen: set[str] = set()
    for name in names:
        key = name.lower() if fold else name
        if key in seen:
            raise ValueError(f"{name!r} is edited twice; what set names is replaced already")
        seen.add(key)


class Edits(Model):
    """`set` replaces, `add` appends, `remove` removes; in this order: what is removed or set goes, then what is set and
    added comes."""

    set: Annotated[Mapping[str, SpecValues], Field(max_length=MAX_EDITS)] = {}
    add: Annotated[Mapping[str, SpecValues], Field(max_length=MAX_EDITS)] = {}
    remove: Listed = ()

    @property
    def names(self) -> Iterable[str]:
        return (*self.set, *self.add, *self.remove)


class FieldEdits(Edits):
    @model_validator(mode="after")
    def _names(self) -> FieldEdits:
        for name in self.names:
            if len(name) > _LONGEST or not is_token(name):
                raise ValueError(f"{name[:80]!r} can't be the name of a header")
            if reason := self.refusal(name.lower()):
                raise ValueError(f"{name!r} can't be edited: {reason}")
        _once((*self.set, *self.remove), fold=True)
        _once(self.add, fold=True)
        return self

    @staticmethod
    def refusal(name: str) -> str:
        """Why the field `name` can't be edited; ``""``: it can."""
        if name in HOP_BY_HOP or name.startswith("proxy-"):
            return "it belongs to one connection"
        if name in FRAMING - {"host"}:
            return "each side frames its messages itself"
        return "the gateway sends it itself" if name in _TRACE else ""


class RequestFields(FieldEdits):
    """Edits of the fields that the service gets."""

    @staticmethod
    def refusal(name: str) -> str:
        if name.startswith("grpc-"):
            return "it belongs to gRPC itself"
        return _REQUEST_KEYS.get(name) or FieldEdits.refusal(name)

    @model_validator(mode="after")
    def _secrets(self) -> RequestFields:
        for name, values in (*self.set.items(), *self.add.items()):
            if name.lower() in ("authorization", "cookie") and not all(is_origin(value) for value in values):
                raise ValueError(
                    f"{name!r} holds credentials, which a spec never contains; use upstream_auth, or $env or $file"
                )
        return self


class ResponseFields(FieldEdits):
    """Edits of the fields that clients get, with replies and problems alike."""

    @staticmethod
    def refusal(name: str) -> str:
        if name in _RESPONSE_OWN or name.startswith(_RESPONSE_FAMILIES) or name == "host":
            return "the gateway sends it itself"
        return FieldEdits.refusal(name)

    @model_validator(mode="after")
    def _no_secrets(self) -> ResponseFields:
        for name, values in (*self.set.items(), *self.add.items()):
            if any(is_origin(value) and read_origin(value, ()).secret for value in values):
                raise ValueError(f"{name!r}: clients never get what $env and $file hold")
        return self


class HeadersSpec(Model):
    """Edits of header fields in both directions."""

    request: RequestFields = RequestFields()
    response: ResponseFields = ResponseFields()


class QuerySpec(Edits):
    """Edits of the query that the service gets. Names are percent-decoded, and count upper and lower case."""

    @model_validator(mode="after")
    def _names(self) -> QuerySpec:
        for name in self.names:
            if not name or len(name) > _LONGEST:
                raise ValueError(f"{name[:80]!r} can't be the name of a parameter")
        _once((*self.set, *self.remove), fold=False)
        return self
