"""What stands under ``grpc:`` in a route's ``transform``: the typed options, and nothing else is allowed there."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from bridge import Options, seconds

VERBS = ("get", "put", "post", "delete", "patch")

_METADATA_KEY = re.compile(r"[0-9a-z_.-]+")


def _listed(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


class Custom(BaseModel):
    """``google.api.CustomHttpPattern``: any HTTP method by name, or ``*`` for every one that no other rule takes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    path: str


class Binding(BaseModel):
    """One pattern of a ``google.api.HttpRule``, as YAML: exactly one of the verbs or ``custom``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

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


class Print(BaseModel):
    """How answers are written: the print options of the proto3 JSON mapping."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    proto_names: bool = False  #: ``ballot_count`` as the proto has it, instead of ``ballotCount``
    enum_numbers: bool = False  #: 2 instead of ``"CERTIFIED"``
    default_values: bool = False  #: fields without presence are written when they are zero, empty or false, too


class Events(BaseModel):
    """How a client of server-sent events goes on after a lost connection."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = ""  #: the answer's field that is an event's id; without, events are counted
    resume: str = ""  #: the request's field that takes ``Last-Event-ID``
    retry: Annotated[float, BeforeValidator(seconds), Field(gt=0, le=3600)] = 3.0  #: after which it comes back


class GrpcOptions(Options):
    """The schema's source (exactly one of three), what is published of it, and how JSON is read and written."""

    protos: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    proto_paths: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    descriptor_set: str | None = None
    reflection: bool = False
    refresh: Literal["off"] | Annotated[float, BeforeValidator(seconds), Field(ge=1)] = 10.0
    service: str | None = None
    method: str | None = None
    http_rules: Annotated[tuple[Rule, ...], BeforeValidator(_listed)] = ()
    metadata: dict[str, str] = Field(default_factory=dict)
    print: Print = Print()
    events: dict[str, Events] = Field(default_factory=dict)
    unknown: Literal["error", "ignore"] = "error"

    @field_validator("metadata", mode="before")
    @classmethod
    def _texts(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: str(item) if isinstance(item, int | float) else item for key, item in value.items()}
        return value

    @field_validator("metadata")
    @classmethod
    def _sendable(cls, metadata: dict[str, str]) -> dict[str, str]:
        """gRPC over HTTP/2, Custom-Metadata: lower-case names, printable ASCII or base64 under a ``-bin`` name."""
        for key, value in metadata.items():
            if not _METADATA_KEY.fullmatch(key):
                raise ValueError(f"{key!r} can't be a metadata name: use lower-case letters, digits, '-', '_' and '.'")
            if key.startswith("grpc-") or key in ("te", "content-type", "user-agent", "host", "connection"):
                raise ValueError(f"{key!r} belongs to gRPC itself")
            if key.endswith("-bin"):
                try:
                    base64.b64decode(value, validate=True)
                except (binascii.Error, ValueError):
                    raise ValueError(f"{key!r} needs base64, since its name ends in -bin") from None
            elif not value.isascii() or not value.isprintable():
                raise ValueError(f"the value of {key!r} must be printable ASCII; use a name ending in -bin for others")
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

    def upstream_metadata(self) -> list[tuple[str, str | bytes]]:
        """The constants of `metadata` as they are sent; ``-bin`` values decoded."""
        return [
            (key, base64.b64decode(value) if key.endswith("-bin") else value) for key, value in self.metadata.items()
        ]
