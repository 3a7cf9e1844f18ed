"""Egress: what a route changes on its way to the service, after the codec and before the cluster.

Header and query edits and credentials that never expire are an `Egress`: a pure function of the call and the codec's
request, so that ``explain`` shows what is sent. Credentials that must be fetched or signed are `Credentials`: the
gateway asks for their fields before it sends, and once more after the service has refused them. `Cookies` are what the
service has set itself.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol, runtime_checkable

from bridge.api.call import Call


class Egress(Protocol):
    """The edits of one route, compiled when it is bound.

    :ivar masked_fields: names (lower case) of the fields, and `masked_parameters` of the query parameters, that hold
        credentials; ``explain`` masks their values.
    """

    @property
    def masked_fields(self) -> Collection[str]: ...
    @property
    def masked_parameters(self) -> Collection[str]: ...

    @property
    def caching(self) -> Sequence[tuple[str, str]]:
        """Header fields of replies that depend on values of the call: ``Vary``, ``Cache-Control`` (RFC 9111)."""
        ...

    @property
    def secrets(self) -> Collection[str]:
        """Texts in requests that must not be shown. They change when a file was rotated."""
        ...

    def sent(self, call: Call) -> Collection[str]:
        """The credentials of `call`, as its request has them.

        :raises bridge.api.ClientError: as `apply`.
        """
        ...

    def apply(self, call: Call, outbound: Any) -> Any:
        """`outbound`, a `bridge.api.HttpRequest` or `bridge.api.GrpcRequest`, with the edits. Large calls are edited in
        a thread.

        :raises bridge.api.ClientError: the call lacks a value that the route sends, or it can't be sent.
        """
        ...


@runtime_checkable
class Shared(Protocol):
    """Credentials that say which of a call's values they depend on.

    :ivar caching: header fields of replies, as `Egress.caching`; empty: they are the same for all callers. Replies to
        calls with other credentials are private.
    """

    @property
    def caching(self) -> Sequence[tuple[str, str]]: ...


class Credentials(Protocol):
    """Credentials for a service that need I/O, or that expire. Used on the event loop only.

    :ivar names: the names (lower case) of the fields.
    """

    @property
    def names(self) -> Collection[str]: ...

    async def fields(self, call: Call) -> Sequence[tuple[str, str]]:
        """The fields to send with `call`, names in lower case; they replace the request's fields of those names. The
        gateway bounds the time by the call's deadline.

        :raises bridge.api.RequestError: there are none; nothing is sent.
        """
        ...

    def rejected(self, call: Call) -> None:
        """The service answered 401, or UNAUTHENTICATED over gRPC, to the last `fields` of `call`: they aren't used
        again. The gateway then asks for new ones and sends the call once more."""
        ...


class Cookies(Protocol):
    """The cookies that a service has set, for each caller (RFC 6265, section 5). Used on the event loop only.

    Paths are those of requests to the service, without the query.
    """

    def header(self, call: Call, path: str) -> str:
        """The ``Cookie`` field of the request of `call`; ``""``: its caller has none for this path.

        :raises bridge.api.Forbidden: nobody can say who the caller is; nothing is sent.
        """
        ...

    def take(self, call: Call, path: str, values: Sequence[str]) -> None:
        """Keep what the reply to `call` sets.

        :param values: of its ``Set-Cookie`` fields. What can't be kept is left out, with a warning in the access log.
        """
        ...
