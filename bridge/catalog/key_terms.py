"""What is asked of a new API key, and of a rotation, as the admin API and the command line take it."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from bridge.api.call import CallerLimit
from bridge.api.spec.route import TENANT
from bridge.api.spec.scalars import LONGEST, MOST, Model, Rate, Seconds, seconds
from bridge.stages.auth.key_text import LABEL

OVERLAP = 24 * 3600.0  #: seconds that a key stays valid after its rotation, unless another time is asked for
MAX_OVERLAP = 30 * 24 * 3600.0
_MOST_NAMES = 64  #: roles, and scopes, of one key


def _printable(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise ValueError("it must have printable characters only, and no space at its ends")
    return text


def _short(overlap: float) -> float:
    if not 0 <= overlap <= MAX_OVERLAP:
        raise ValueError("it must be 30 days (30d) or less")
    return overlap


def _list(value: object) -> object:
    if not isinstance(value, list):
        return value
    return tuple(dict.fromkeys(value) if all(isinstance(one, str) for one in value) else value)


def _scope(text: str) -> str:
    if not re.fullmatch(r"[\x21\x23-\x5b\x5d-\x7e]+", text):
        raise ValueError("it must be ASCII without spaces, quotes and backslashes")
    return text


def _label(text: str) -> str:
    if not re.fullmatch(LABEL, text):
        raise ValueError("it must be 1 to 12 lower-case letters and digits, a letter first")
    return text


Subject = Annotated[str, StringConstraints(min_length=1, max_length=256), AfterValidator(_printable)]
Role = Annotated[str, StringConstraints(min_length=1, max_length=128), AfterValidator(_printable)]
#: RFC 6749, section 3.3.
Scope = Annotated[str, StringConstraints(max_length=128), AfterValidator(_scope)]


class KeyLimit(Model):
    """As `bridge.api.spec.limits.RateLimit` without `per`, since it is one key's."""

    rps: Rate
    burst: int | None = Field(default=None, ge=1, le=MOST)

    @model_validator(mode="after")
    def _fills(self) -> KeyLimit:
        if self.burst is not None and self.burst / self.rps > LONGEST:
            raise ValueError(f"a burst of {self.burst} would take longer than a hundred years to be there again")
        return self

    def of_caller(self) -> CallerLimit:
        return CallerLimit(self.rps, self.burst)


class KeyTerms(Model):
    """A new key. Without `tenant`, it belongs to the tenant of whoever makes it; without `ttl`, it doesn't expire."""

    subject: Subject
    tenant: Annotated[str, Field(pattern=TENANT)] | None = None
    roles: Annotated[tuple[Role, ...], BeforeValidator(_list), Field(max_length=_MOST_NAMES)] = ()
    scopes: Annotated[tuple[Scope, ...], BeforeValidator(_list), Field(max_length=_MOST_NAMES)] = ()
    limit: KeyLimit | None = None
    ttl: Seconds | None = None
    label: Annotated[str, AfterValidator(_label)] | None = None


class Rotation(Model):
    """:ivar overlap: seconds for which the old key stays valid."""

    overlap: Annotated[float, BeforeValidator(seconds), AfterValidator(_short)] = OVERLAP
