"""`rate_limit`, `limits`, `cache` and `stream`: bounds of a route's calls."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from bridge.api.spec.scalars import LONGEST, MOST, Model, Rate, Seconds
from bridge.wording import not_one_of

MAX_LIMITS = 8  #: of a route; each of them is counted for each call
_PER = ("client", "key", "route", "tenant", "address")
#: Names of policies that no limit of a route may have, and whose they are.
_RESERVED = {"default": "rate_limit", "key": "the limit that an API key has itself"}


def _check_per(per: str) -> str:
    """:raises ValueError: calls can't be counted by it."""
    if per not in _PER and not re.fullmatch(r"claim:.+", per):
        raise ValueError(not_one_of(per, (*_PER, "claim:NAME")))
    return per


#: Which calls share a limit.
Per = Annotated[str, AfterValidator(_check_per)]


def _check_burst(rps: float, burst: int | None, internal_rps: float | None) -> None:
    """:raises ValueError: the burst takes longer than `LONGEST` to be there again."""
    if burst is not None and burst / min(rps, internal_rps or rps) > LONGEST:
        raise ValueError(f"a burst of {burst} would take longer than a hundred years to be there again")


class RateLimit(Model):
    """A token bucket. Without `burst`, no more than `rps` calls go through in any one second. A limit below one call,
    or one burst, in a hundred years (`LONGEST`) is refused: its times could not be represented."""

    rps: Rate
    burst: int | None = Field(default=None, ge=1, le=MOST)
    per: Per = "client"
    internal_rps: Rate | None = None

    @model_validator(mode="after")
    def _fills(self) -> RateLimit:
        _check_burst(self.rps, self.burst, self.internal_rps)
        return self


class Limit(Model):
    """One of a route's `limits`: a rate (`rps`, as in `RateLimit`), a `quota` of a calendar day or month in UTC, or how
    many calls may be under way at once (`concurrency`).

    :ivar cost: what a call of an operation, or with a method, takes of the limit; others take 1. 0: it is not counted.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")] | None = None
    rps: Rate | None = None
    burst: int | None = Field(default=None, ge=1, le=MOST)
    quota: int | None = Field(default=None, ge=1, le=MOST)
    window: Literal["day", "month"] | None = None
    concurrency: int | None = Field(default=None, ge=1, le=MOST)
    per: Per = "client"
    cost: Mapping[str, Annotated[int, Field(ge=0, le=MOST)]] | None = None
    internal_rps: Rate | None = None

    @field_validator("name")
    @classmethod
    def _is_free(cls, name: str | None) -> str | None:
        if name in _RESERVED:
            raise ValueError(f"{name!r} is the name of {_RESERVED[name]}")
        return name

    @model_validator(mode="after")
    def _is_one_kind(self) -> Limit:
        kinds = [kind for kind in ("rps", "quota", "concurrency") if getattr(self, kind) is not None]
        if len(kinds) != 1:
            found = f"it has {' and '.join(kinds)}" if kinds else "it has none of them"
            raise ValueError(f"a limit has one of rps, quota and concurrency; {found}")
        for key, kind in (("burst", "rps"), ("internal_rps", "rps"), ("window", "quota")):
            if getattr(self, key) is not None and kinds != [kind]:
                raise ValueError(f"{key} goes with {kind}, not with {kinds[0]}")
        if kinds == ["quota"] and self.window is None:
            raise ValueError("a quota needs its window: day or month")
        if kinds == ["concurrency"] and self.cost is not None:
            raise ValueError("cost goes with rps or quota; under way, a call is one call")
        if self.rps is not None:
            _check_burst(self.rps, self.burst, self.internal_rps)
        for name, cost in (self.cost or {}).items():
            if cost > self.capacity:
                raise ValueError(f"cost: {name} takes {cost}, and the limit never holds more than {self.capacity}")
        return self

    @property
    def capacity(self) -> int:
        """How much fits at once, for callers of both kinds."""
        if self.rps is not None:
            # With a burst, internal callers' is no smaller.
            return self.burst or max(1, math.floor(min(self.rps, self.internal_rps or self.rps)))
        return self.quota or self.concurrency or 1

    @property
    def kind(self) -> Literal["rate", "quota", "concurrency"]:
        return "rate" if self.rps is not None else "quota" if self.quota is not None else "concurrency"

    @property
    def policy(self) -> str:
        """Its name in header fields, problems and metrics: `name`, or what it counts by."""
        if self.name is not None:
            return self.name
        per = re.sub(r"[^A-Za-z0-9._-]", "_", self.per.replace(":", "-", 1))[:48]
        if self.rps is not None:
            return "route-key" if per == "key" else per
        return f"{per}-{self.window or 'concurrency'}"


def _check_limits(limits: tuple[Limit, ...]) -> tuple[Limit, ...]:
    """:raises ValueError: they are too many or none, or two have one name."""
    if not 1 <= len(limits) <= MAX_LIMITS:
        raise ValueError(f"a route has 1 to {MAX_LIMITS} limits, not {len(limits)}")
    names = [limit.policy for limit in limits]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two of them are called {name!r}; give one another name")
    return limits


Limits = Annotated[tuple[Limit, ...], Field(strict=False), AfterValidator(_check_limits)]


class Cache(Model):
    ttl: Seconds


class Stream(Model):
    """Limits of streaming calls, to which the route's `timeout` does not apply."""

    timeout: Seconds | None = None  #: of the whole call; a client may ask for less
    idle: Seconds = 300.0  #: without a message in either direction, or with a client that doesn't read
    heartbeat: Seconds = 15.0  #: of silence, after which the client gets a sign that the call is alive
