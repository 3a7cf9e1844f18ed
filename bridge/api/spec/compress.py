"""`compress`: replies in a content-coding that the client accepts."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator

from bridge.api.spec.scalars import Model, Names, Size

#: Media types that compression makes smaller. A ``*`` is for the rest of the name.
TYPES = (
    "text/*", "application/json", "application/*+json", "application/xml", "application/*+xml", "application/soap+xml",
    "application/x-ndjson", "application/ndjson", "application/jsonl", "application/javascript", "application/yaml",
    "application/wasm", "image/svg+xml",
)  # fmt: skip
_TYPE = re.compile(r"\*/\*|[a-z0-9!#$&^_.+-]+/(?:\*(?:\+[a-z0-9.-]+)?|[a-z0-9!#$&^_.+-]+)")


class Compress(Model):
    """What is compressed, and how."""

    min_size: Size = 1024  #: bytes of a body from which on it is compressed
    types: Names = TYPES
    codings: Annotated[tuple[Literal["zstd", "gzip"], ...], Field(strict=False, min_length=1)] = ("zstd", "gzip")

    @field_validator("types")
    @classmethod
    def _media_types(cls, types: tuple[str, ...]) -> tuple[str, ...]:
        lower = tuple(each.lower() for each in types)
        for each in lower:
            if not _TYPE.fullmatch(each):
                raise ValueError(
                    f"{each!r} is no media type; write application/json, text/*, application/*+json or */*"
                )
        if not lower:
            raise ValueError("an empty list compresses nothing; write compress: false")
        return lower

    @field_validator("codings")
    @classmethod
    def _once(cls, codings: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(codings)) < len(codings):
            raise ValueError("a coding stands in it twice")
        return codings
