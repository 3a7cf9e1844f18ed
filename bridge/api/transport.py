"""A protocol towards services, found by its entry point in the group ``bridge.transports``.

::

    Transport ── channel(target) ──> Channel            once for each upstream that routes name
    Channel ── prepare(request) ──> message             once a call; refuses what can't be sent
    Channel ── attempt(message, context) ──> Attempt      once for each instance

A transport only sends. `bridge.cluster.attempts` chooses the instance, receives each `Attempt` as a value, reports it
to the outlier detector, and decides on retries by its `Outcome`. The cluster also enforces deadlines, by cancellation;
a cancelled attempt must release all its resources.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from bridge.api.call import Retry
from bridge.api.spec.connection import ConnectionSpec
from bridge.api.tls import Tls
from bridge.errors import RequestError

#: An IP address as text (IPv6 without brackets) and a TCP port.
Address = tuple[str, int]


class Outcome(enum.Enum):
    """Whether a call may be sent again, given what the service may have done."""

    REFUSED = enum.auto()  #: Nothing was sent: no connection. The next instance may be tried.
    NOT_PROCESSED = enum.auto()  #: The service did not process the call. It may be sent again at once.
    RETRIABLE = enum.auto()  #: It was sent, and refused or lost. It may be sent again if a retry policy allows it.
    FINAL = enum.auto()  #: It was answered, or can't be sent.


class InstanceVerdict(enum.Enum):
    """What an attempt says about the instance's health (`bridge.cluster.outlier`)."""

    FINE = enum.auto()  #: It answered, and the code is not subject to a retry policy.
    ALIVE = enum.auto()  #: It answered with a refusal.
    BAD = enum.auto()  #: The call was lost there.
    LATE = enum.auto()  #: It was too slow; counts if it had a fair amount of time.
    UNREACHABLE = enum.auto()  #: It accepted no connection; counts if it refused, or had a fair amount of time.
    NONE = enum.auto()  #: Nothing.


@dataclass(slots=True)
class Attempt:
    """How one attempt at one instance ended.

    :ivar result: the reply; an open stream, for `Channel.open`; or the error that the caller gets if no other attempt
        follows.
    :ivar code: the protocol's status code. Failures in transit have a code, too.
    :ivar pushback: seconds after which the service accepts the call again; infinite if it does not.
    :ivar waited: with `UNREACHABLE`: seconds until the timeout; None if it refused at once.
    """

    result: Any
    code: int = 0
    outcome: Outcome = Outcome.FINAL
    verdict: InstanceVerdict = InstanceVerdict.NONE
    pushback: float | None = None
    waited: float | None = None

    def settle(self) -> Any:
        """`result`; raised if it is an error."""
        if isinstance(self.result, RequestError):
            raise self.result
        return self.result


class Clock(Protocol):
    """The deadline of a call."""

    def hold(self) -> None:
        """A request's body is under way: the time doesn't count."""
        ...

    def release(self) -> None:
        """It counts again, with what was left of it."""
        ...


class AttemptContext(Clock, Protocol):
    """The instance and the times of one attempt.

    :ivar address: the instance. :ivar addresses: all known instances of the name.
    :ivar deadline: in the loop's `time()`; sent to services as a timeout.
    :ivar began: the start, in the loop's `time()`. A transport may set it again once it is connected: the time until
        then is not charged to the instance.
    :ivar connect_timeout: seconds for the instance to accept a connection.
    :ivar retries: earlier attempts that the retry policy counts.
    :ivar repeats: earlier attempts that no service processed.
    :ivar answered: the answer has arrived, so the instance is not at fault if the deadline passes now.
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
    """The common part of all requests to services.

    :ivar timeout: seconds, if lower than the route's. :ivar retry: a policy instead of the route's.
    """

    timeout: float | None
    retry: Retry | None


@dataclass(frozen=True, slots=True)
class Target:
    """One upstream: a mesh name and port, and how to connect to it.

    :ivar tls: trusted authorities and the gateway's certificate; None for plain TCP.
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
        """`request` in the form that `attempt` takes.

        :param trace: fields to add.
        :raises bridge.ClientError: it can't be sent.
        """
        ...

    def attempt(self, message: Any, context: AttemptContext) -> Awaitable[Attempt]:
        """Send to one instance and wait for the whole answer. Raises only cancellation and `ClientError`."""
        ...

    @property
    def open(
        self,
    ) -> Callable[[Any, AttemptContext, float | None, Callable[[Attempt], None]], Awaitable[Attempt]] | None:
        """Opens a streaming call: ``open(message, context, deadline, report)``. None if the protocol has no streams.

        `deadline` is the call's own, or None; `report` gets its outcome.
        """
        ...

    def repeatable(self, request: Any) -> bool:
        """Whether `request` is idempotent (RFC 9110, section 9.2.2)."""
        ...

    def resting(self, address: Address) -> bool:
        """Whether the instance is connected, and has reported that it accepts no calls."""
        ...

    def forget(self, address: Address) -> None:
        """The instance was ejected: later calls use a new connection."""
        ...

    async def aclose(self) -> None:
        """Close every connection; calls in progress end."""
        ...


class Transport(Protocol):
    """Created once for each gateway, without arguments, when a route first needs it.

    :cvar name: the value of a transformer's `wire`, and the scheme of a spec's ``upstream`` for plain TCP; an ``s`` is
        appended for TLS. The entry point's name must be the same.
    :cvar options: the keys of a spec's ``connection`` that it supports, besides those of TLS.
    :cvar retried: the codes after which calls are sent again if ``retry.on`` is left out.
    """

    name: ClassVar[str]
    options: ClassVar[frozenset[str]]
    retried: ClassVar[frozenset[int]]

    def code(self, text: int | str) -> int:
        """The status that a spec's ``retry.on`` names.

        :raises ValueError: the protocol has no such status, or a call can't fail with it.
        """
        ...

    def channel(self, target: Target) -> Channel:
        """:raises bridge.BindError: it can't connect to `target`."""
        ...

    async def aclose(self) -> None:
        """Close the resources that channels share. Works before the first channel, too."""
        ...
