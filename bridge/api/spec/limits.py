"""`rate_limit`, `cache` and `stream`: bounds of a route's calls."""

from __future__ import annotations

import re

from pydantic import Field, field_validator, model_validator

from bridge.api.spec.scalars import LONGEST, MOST, Model, Rate, Seconds
from bridge.wording import not_one_of


class RateLimit(Model):
    """A token bucket. Without `burst`, no more than `rps` calls go through in any one second. A limit below one call,
    or one burst, in a hundred years (`LONGEST`) is refused: its times could not be represented."""

    rps: Rate
    burst: int | None = Field(default=None, ge=1, le=MOST)
    per: str = "client"
    internal_rps: Rate | None = None

    @field_validator("per")
    @classmethod
    def _per(cls, per: str) -> str:
        if per not in ("client", "route", "tenant") and not re.fullmatch(r"claim:.+", per):
            raise ValueError(not_one_of(per, ("client", "route", "tenant", "claim:NAME")))
        return per

    @model_validator(mode="after")
    def _fills(self) -> RateLimit:
        slowest = min(self.rps, self.internal_rps or self.rps)
        if self.burst is not None and self.burst / slowest > LONGEST:
            raise ValueError(f"a burst of {self.burst} would take longer than a hundred years to be there again")
        return self


class Cache(Model):
    ttl: Seconds


class Stream(Model):
    """Limits of streaming calls, to which the route's `timeout` does not apply."""

    timeout: Seconds | None = None  #: of the whole call; a client may ask for less
    idle: Seconds = 300.0  #: without a message in either direction, or with a client that doesn't read
    heartbeat: Seconds = 15.0  #: of silence, after which the client gets a sign that the call is alive
