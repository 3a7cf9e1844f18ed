"""Who calls, and whether they may: the interface of a route's ``auth``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from bridge.api.call import Call, Identity


@dataclass(frozen=True, slots=True)
class Security:
    """An authenticator's part of an OpenAPI document: Security Scheme Objects by name, and the requirements that name
    them; one of these is enough. No requirements: public."""

    schemes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    requirements: Sequence[Mapping[str, Sequence[str]]] = ()


class Authenticator(Protocol):
    """Created once for a route, called once for each request.

    :ivar consumes: the header fields (lower case) that carry its credentials; they are not sent upstream.
    """

    consumes: frozenset[str]

    def known(self, call: Call) -> Identity | None:
        """The caller, if it is known without waiting; else None. Raises as the coroutine does."""
        ...

    async def __call__(self, call: Call) -> Identity:
        """The caller.

        :raises Unauthorized: the credentials are missing or wrong; carries ``WWW-Authenticate``.
        :raises Forbidden: they are valid, but not sufficient.
        :raises IssuerUnavailable: they can't be verified at the moment.
        """
        ...

    def openapi_scheme(self, method: str = "") -> Security:
        """Its part of the OpenAPI document, for an operation with `method`."""
        ...
