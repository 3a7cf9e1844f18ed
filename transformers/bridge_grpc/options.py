"""What stands under ``grpc:`` in a route's ``transform``: the typed options, and nothing else is allowed there."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from bridge.api import Options, is_origin, seconds
from bridge_grpc.metadata import check_name, constant

VERBS = ("get", "put", "post", "delete", "patch")


def _listed(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _lasting(value: float) -> float:
    if value < 0.001:
        raise ValueError("it is shorter than a millisecond")
    return value


Seconds = Annotated[float, BeforeValidator(seconds), Field(gt=0, allow_inf_nan=False), AfterValidator(_lasting)]
Listed = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class Custom(BaseModel):
    """``google.api.CustomHttpPattern``: any HTTP method by name, or ``*`` for every one that no other rule takes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kind: str
    path: str


class Binding(BaseModel):
    """One pattern of a ``google.api.HttpRule``, as YAML: exactly one of the verbs or ``custom``."""

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
    def _one_pattern(self) -> Binding:
        count = sum(getattr(self, verb) is not None for verb in (*VERBS, "custom"))
        if count != 1:
            raise ValueError(f"a rule has exactly one of {', '.join(VERBS)} and custom; this one has {count}")
        return self

    @property
    def pattern(self) -> tuple[str, str]:
        """The HTTP method and the path template."""
        if self.custom is not None:
            return self.custom.kind.upper(), self.custom.path
        verb = next(verb for verb in VERBS if getattr(self, verb) is not None)
        return verb.upper(), getattr(self, verb)


class Rule(Binding):
    """A ``google.api.HttpRule`` for the method that `selector` names in full: ``package.Service.Method``."""

    selector: str
    additional_bindings: Annotated[tuple[Binding, ...], BeforeValidator(_listed)] = ()


class Http(BaseModel):
    """Where implementations of ``google/api/http.proto`` differ.

    `decode_reserved`: whether ``%2F`` in a variable of several segments stays as sent (``keep``, the comment's rule) or
    is decoded with everything else (``all``). `fully_decode_reserved_expansion` is the name that ``google.api.Http``
    has for the latter.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    decode_reserved: Literal["keep", "all"] | None = None
    fully_decode_reserved_expansion: bool | None = None

    @model_validator(mode="after")
    def _one_word(self) -> Http:
        one, other = self.decode_reserved, self.fully_decode_reserved_expansion
        if one is not None and other is not None and (one == "all") != other:
            raise ValueError("decode_reserved and fully_decode_reserved_expansion say different things")
        return self

    @property
    def decode_all(self) -> bool:
        return self.decode_reserved == "all" or bool(self.fully_decode_reserved_expansion)


class Print(BaseModel):
    """How answers are written: the print options of the proto3 JSON mapping."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    proto_names: bool = False  #: ``ballot_count`` as the proto has it, instead of ``ballotCount``
    enum_numbers: bool = False  #: 2 instead of ``"CERTIFIED"``
    default_values: bool = False  #: fields without presence are written when they are zero, empty or false, too


class Events(BaseModel):
    """How a client of server-sent events goes on after a lost connection."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    id: str = ""  #: the path of the answer's field that is an event's id; without, events are counted
    resume: str = ""  #: the path of the request's field that takes ``Last-Event-ID``
    retry: Annotated[Seconds, Field(le=3600)] = 3.0  #: after which it comes back


class RetryOptions(BaseModel):
    """gRFC A6, ``retryPolicy``. Without `codes`, what may be sent again by its nature is, after UNAVAILABLE; with them,
    every call of the method is."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    max_attempts: int = Field(default=3, ge=2, le=5, strict=True)
    initial_backoff: Seconds = 0.1
    max_backoff: Seconds = 2.0
    multiplier: float = Field(default=2.0, ge=1, le=100, allow_inf_nan=False)
    codes: Annotated[tuple[str, ...], Field(min_length=1), BeforeValidator(_listed)] | None = None


class CallOptions(BaseModel):
    """What one method has otherwise than the route."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    timeout: Seconds | None = None
    retry: RetryOptions | None = None


class GrpcOptions(Options):
    """The schema's source (exactly one of three), what is published of it, and how JSON is read and written."""

    model_config = ConfigDict(strict=True)

    protos: Listed = ()
    proto_paths: Listed = ()
    descriptor_set: str | None = None
    reflection: bool = False
    refresh: Literal["off"] | Annotated[float, BeforeValidator(seconds), Field(ge=1)] = 10.0
    service: str | None = None
    method: str | None = None
    http_rules: Annotated[tuple[Rule, ...], BeforeValidator(_listed)] = ()
    metadata: dict[str, Any] = Field(default_factory=dict)
    fields: dict[str, Any] = Field(default_factory=dict)
    pass_headers: Listed = ()
    reply_headers: Listed = ()
    http: Http = Http()
    calls: dict[str, CallOptions] = Field(default_factory=dict)
    print: Print = Print()
    events: dict[str, Events] = Field(default_factory=dict)
    unknown: Literal["error", "ignore"] = "error"

    @field_validator("metadata")
    @classmethod
    def _sendable(cls, metadata: dict[str, Any]) -> dict[str, Any]:
        """gRPC over HTTP/2, Custom-Metadata: lower-case names, printable ASCII or base64 under a ``-bin`` name. What
        origins name is judged at bind."""
        for key, value in metadata.items():
            check_name(key)
            if not is_origin(value):
                constant(key, value)
        return metadata

    @model_validator(mode="after")
    def _fitting(self) -> GrpcOptions:
        sources = [bool(self.protos), self.descriptor_set is not None, self.reflection]
        if sum(sources) != 1:
            raise ValueError("name exactly one source of the schema: protos, descriptor_set or reflection: true")
        if self.proto_paths and not self.protos:
            raise ValueError("proto_paths says where protos are looked up, and there are none")
        if "refresh" in self.model_fields_set and not self.reflection:
            raise ValueError("refresh says how often a live server is asked again; it goes with reflection: true")
        if self.method is not None and self.http_rules:
            raise ValueError("method publishes one method at the route itself; leave out method to use http_rules")
        return self
