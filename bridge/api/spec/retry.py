"""`retry`: when a call is sent again."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from bridge.api.spec.scalars import Model, Seconds


class RetrySpec(Model):
    """When a call is sent to the upstream again: gRFC A6, for every protocol. A call that may have been processed is
    sent again only if it is idempotent (RFC 9110, section 9.2.2)."""

    attempts: Annotated[int, Field(ge=2, le=5)] = 3  #: including the first
    backoff: Seconds = 0.1  #: the wait before the second one; each later wait is `multiplier` times the one before it
    max_backoff: Seconds = 2.0
    multiplier: Annotated[float, Field(ge=1, le=100, allow_inf_nan=False)] = 2.0
    on: Annotated[tuple[int | str, ...], Field(strict=False, min_length=1)] | None = None  #: statuses; the transport's

    @model_validator(mode="after")
    def _growing(self) -> RetrySpec:
        if self.max_backoff < self.backoff:
            raise ValueError("max_backoff is shorter than backoff")
        return self
