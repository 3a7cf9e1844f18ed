"""A protocol towards services, as the gateway sees it: found by its entry point in the group ``bridge.transports``.

::

    Transport ── channel(target) ──> Channel            once for each upstream that routes name
    Channel ── prepare(request) ──> message             once a call: what can't be sent is refused here
    Channel ── attempt(message, context) ──> Attempt      once for each instance that is tried

A transport sends; it never decides where, or whether again. `bridge.cluster.attempts` chooses the instance, takes each
`Attempt` as a value, reports it to the outlier detector, and decides by its `Outcome` what is done next. Deadlines are
the cluster's, too: what takes longer is cancelled, and a cancelled attempt must leave nothing behind.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from bridge.api.call import Retry
from bridge.api.route_spec import ConnectionSpec
from bridge.api.tls import Tls
from bridge.errors import RequestError

#: An IP address as text (IPv6 without brackets) and a TCP port.
Address = tuple[str, int]


class Outcome(enum.Enum):
    """What may be done next, by what the service may have done already."""

    REFUSED = enum.auto()  #: Nothing was sent: no connection. The next instance may be tried.
    NOT_PROCESSED = enum.auto()  #: The service did nothing about the call. It may be sent again at once.
    RETRIABLE = enum.auto()  #: It was sent, and refused or lost. It may be sent again where a retry policy says so.
    FINAL = enum.auto()  #: It was answered, or can't be sent.


class InstanceVerdict(enum.Enum):
    """What an attempt says of the instance (`bridge.cluster.outlier`)."""

    FINE = enum.auto()  #: It answered, and the code needs no retry policy's judgement.
    ALIVE = enum.auto()  #: It answered, by a refusal.
    BAD = enum.auto()  #: The call was lost there.
    LATE = enum.auto()  #: It was too slow; counts if it had a fair time.
    UNREACHABLE = enum.auto()  #: It took no connection; counts if it refused, or had a fair time.
    NONE = enum.auto()  #: Nothing.


@dataclass(slots=True)
class Attempt:
    """How one attempt at one instance ended.

    :ivar result: the reply; an open stream, for `Channel.open`; or the error that the caller gets if no other attempt
        is made.
    :ivar code: the status as the protocol counts it. Trouble on the way has a code, too.
    :ivar pushback: seconds after which the service wants the call again; infinite where it does not want it.
    :ivar waited: where it was `UNREACHABLE`: seconds until it was given up; None where it refused at once.
    """

    result: Any
    code: int = 0
    outcome: Outcome = Outcome.FINAL
    verdict: InstanceVerdict = InstanceVerdict.NONE
    pushback: float | None = None
    waited: float | None = None

    def settle(self) -> Any:
        """`result`; raised where it is an error."""
        if isinstance(self.result, RequestError):
            raise self.result
        return self.result


class AttemptContext(Protocol):
    """Where and when one attempt is made.

    :ivar address: the instance. :ivar addresses: all instances of the name that are known.
    :ivar deadline: in the loop's `time()`; tells a service how long it has.
    :ivar began: the attempt, in the loop's `time()`. A transport may set it anew once it is connected: the time until
        then is not the instance's.
    :ivar connect_timeout: seconds for the instance to take a connection.
    :ivar retries: attempts before this one that the retry policy had made.
    :ivar repeats: attempts before this one that no service had processed.
    :ivar answered: the answer is here, so that the instance is not to blame if the deadline passes now.
    """

    address: Address
    addresses: Sequence[Address]
    deadline: float
    began: float
    connect_timeout: float
    retries: int
    repeats: int
    answered: bool


class Outbound(Protocol):
    """What every request to a service has.

    :ivar timeout: seconds, where it has fewer than the route. :ivar retry: a policy in place of the route's.
    """

    timeout: float | None
    retry: Retry | None


@dataclass(frozen=True, slots=True)
class Target:
    """One upstream: a mesh name and port, and how it is connected to.

    :ivar tls: whom the gateway trusts and how it shows who it is; None for plain TCP.
    :ivar max_reply: bytes of a reply's body, as sent and decoded.
    """

    name: str
    port: str
    tls: Tls | None
    connection: ConnectionSpec
    max_reply: int


class Channel(Protocol):
    """One upstream over one protocol: connections to any of its instances."""

    def prepare(self, request: Any, trace: Sequence[tuple[str, str]]) -> Any:
        """`request` as `attempt` takes it.

        :param trace: fields to add.
        :raises bridge.ClientError: it can't be sent.
        """
        ...

    def attempt(self, message: Any, context: AttemptContext) -> Awaitable[Attempt]:
        """Send at one instance and wait for the whole answer. Raises nothing but cancellation and `ClientError`."""
        ...

    @property
    def open(
        self,
    ) -> Callable[[Any, AttemptContext, float | None, Callable[[Attempt], None]], Awaitable[Attempt]] | None:
        """Opens a call that streams: ``open(message, context, deadline, report)``. None where the protocol has none.

        `deadline` is the call's own, or None; `report` is told how it ended.
        """
        ...

    def repeatable(self, request: Any) -> bool:
        """Whether sending `request` twice is sending it once (RFC 9110, section 9.2.2)."""
        ...

    def resting(self, address: Address) -> bool:
        """Whether the instance is connected, and has said that it takes no calls."""
        ...

    def forget(self, address: Address) -> None:
        """The instance was ejected: what is sent there later goes over a new connection."""
        ...

    async def aclose(self) -> None:
        """Close every connection; calls under way end."""
        ...


class Transport(Protocol):
    """Made once for each gateway, without arguments, when a route first needs it.

    :cvar name: what a transformer's `wire` says, and the scheme of a spec's ``upstream`` for plain TCP; with an ``s``
        behind it, for TLS. The entry point's name must be the same.
    :cvar options: the keys of a spec's ``connection`` that mean something to it, beside those of TLS.
    :cvar retried: the codes after which calls are sent again where ``retry.on`` is left out.
    """

    name: ClassVar[str]
    options: ClassVar[frozenset[str]]
    retried: ClassVar[frozenset[int]]

    def code(self, text: int | str) -> int:
        """The status that a spec's ``retry.on`` names.

        :raises ValueError: the protocol has no such status, or none that a call can fail with.
        """
        ...

    def channel(self, target: Target) -> Channel:
        """:raises bridge.BindError: `target` can't be connected to in this way."""
        ...

    async def aclose(self) -> None:
        """Close what channels share. Works before the first one, too."""
        ...
