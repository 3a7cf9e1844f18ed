"""The options under ``grpc:`` in a route's ``transform``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from bridge.api import Options, is_origin, seconds
from bridge_grpc.metadata import check_name, constant

METHODS = ("get", "put", "post", "delete", "patch")


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _not_too_short(value: float) -> float:
    if value < 0.001:
        raise ValueError("it is shorter than a millisecond")
    return value


Seconds = Annotated[float, BeforeValidator(seconds), Field(gt=0, allow_inf_nan=False), AfterValidator(_not_too_short)]
StringTuple = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]


class Custom(BaseModel):
    """``google.api.CustomHttpPattern``: an HTTP method, or ``*`` for every method that no other rule has."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kind: str
    path: str


class PatternOptions(BaseModel):
    """One pattern of a ``google.api.HttpRule``: exactly one of the methods or ``custom``."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    get: str | None = None
    put: str | None = None
    post: str | None = None
    delete: str | None = None
    patch: str | None = None
    custom: Custom | None = None
    body: str = ""
    response_body: str = ""

    @model_validator(mode="after")
    def _one_pattern(self) -> PatternOptions:
        count = sum(getattr(self, method) is not None for method in (*METHODS, "custom"))
        if count != 1:
            raise ValueError(f"a rule has exactly one of {', '.join(METHODS)} and custom; this one has {count}")
        return self

    @property
    def pattern(self) -> tuple[str, str]:
        """The HTTP method and the path template."""
        if self.custom is not None:
            return self.custom.kind.upper(), self.custom.path
        method = next(method for method in METHODS if getattr(self, method) is not None)
        return method.upper(), getattr(self, method)


class RuleOptions(PatternOptions):
    """A ``google.api.HttpRule`` for the method `selector`: ``package.Service.Method``."""

    selector: str
    additional_bindings: Annotated[tuple[PatternOptions, ...], BeforeValidator(_as_tuple)] = ()


class Http(BaseModel):
    """Options for what implementations of ``google/api/http.proto`` do differently.

    `decode_reserved`: whether ``%2F`` in a variable of several segments stays as sent (``keep``, as ``http.proto``
    says) or is decoded like everything else (``all``). `fully_decode_reserved_expansion` is ``google.api.Http``'s name
    for ``all``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    decode_reserved: Literal["keep", "all"] | None = None
    fully_decode_reserved_expansion: bool | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Http:
        one, other = self.decode_reserved, self.fully_decode_reserved_expansion
        if one is not None and other is not None and (one == "all") != other:
            raise ValueError("decode_reserved and fully_decode_reserved_expansion contradict each other")
        return self

    @property
    def decode_all(self) -> bool:
        return self.decode_reserved == "all" or bool(self.fully_decode_reserved_expansion)


class Print(BaseModel):
    """The print options of the proto3 JSON mapping."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    proto_names: bool = False  #: ``ballot_count`` as the proto has it, instead of ``ballotCount``
    short_enums: bool = False  #: ``CERTIFIED`` for ``STATE_CERTIFIED`` of ``State``; they are then read, too
    enum_numbers: bool = False  #: 2 instead of ``"CERTIFIED"``
    default_values: bool = False  #: fields without presence are also written when they are zero, empty or false


class EventOptions(BaseModel):
    """How a client of server-sent events resumes after a lost connection."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    id: str = ""  #: the reply's field that is an event's id; without, events are counted
    resume: str = ""  #: the request's field that takes ``Last-Event-ID``
    retry: Annotated[Seconds, Field(le=3600)] = 3.0  #: until the client reconnects


class RetryOptions(BaseModel):
    """gRFC A6, ``retryPolicy``. With `codes`, every call of the method is sent again after one of them; without,
    idempotent calls are sent again after UNAVAILABLE."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    max_attempts: int = Field(default=3, ge=2, le=5, strict=True)
    initial_backoff: Seconds = 0.1
    max_backoff: Seconds = 2.0
    multiplier: float = Field(default=2.0, ge=1, le=100, allow_inf_nan=False)
    codes: Annotated[tuple[str, ...], Field(min_length=1), BeforeValidator(_as_tuple)] | None = None


class CallOptions(BaseModel):
    """Settings of one method that differ from the route's."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    timeout: Seconds | None = None
    retry: RetryOptions | None = None


class GrpcOptions(Options):
    """The source of the schema, what is published of it, and how JSON is read and written."""

    model_config = ConfigDict(strict=True)

    protos: StringTuple = ()
    proto_paths: StringTuple = ()
    descriptor_set: str | None = None
    reflection: bool = False
    refresh: Literal["off"] | Annotated[float, BeforeValidator(seconds), Field(ge=1)] = 10.0
    service: str | None = None
    method: str | None = None
    http_rules: Annotated[tuple[RuleOptions, ...], BeforeValidator(_as_tuple)] = ()
    metadata: dict[str, Any] = Field(default_factory=dict)
    fields: dict[str, Any] = Field(default_factory=dict)
    pass_headers: StringTuple = ()
    reply_headers: StringTuple = ()
    http: Http = Http()
    calls: dict[str, CallOptions] = Field(default_factory=dict)
    print: Print = Print()
    events: dict[str, EventOptions] = Field(default_factory=dict)
    unknown: Literal["error", "ignore"] = "error"
    statuses: dict[str, Annotated[int, Field(ge=200, le=299)]] = Field(default_factory=dict)
    locations: dict[str, str] = Field(default_factory=dict)  #: by method: ``/v1/tallies/{id}``, from its reply
    short_enums: bool = False  #: enum values may be named without their type's prefix
    query_items: bool = False  #: items of repeated messages in a query: ``parts[0].name=x``
    ignore_query: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_as_tuple)] = ()
    strict: bool = False  #: refuse what is read with a warning: rules that would be left out, JSON declared as a form

    @field_validator("metadata")
    @classmethod
    def _sendable(cls, metadata: dict[str, Any]) -> dict[str, Any]:
        """gRPC over HTTP/2, "Custom-Metadata": lower-case names, printable ASCII, or base64 under a ``-bin`` name.
        Values from origins are checked at bind."""
        for key, value in metadata.items():
            check_name(key)
            if not is_origin(value):
                constant(key, value)
        return metadata

    @model_validator(mode="after")
    def _one_source(self) -> GrpcOptions:
        sources = [bool(self.protos), self.descriptor_set is not None, self.reflection]
        if sum(sources) != 1:
            raise ValueError("name exactly one source of the schema: protos, descriptor_set or reflection: true")
        if self.proto_paths and not self.protos:
            raise ValueError("proto_paths goes with protos")
        if "refresh" in self.model_fields_set and not self.reflection:
            raise ValueError("refresh goes with reflection: true")
        if self.method is not None and self.http_rules:
            raise ValueError("method publishes one method at the route itself, so http_rules can't be used with it")
        return self
