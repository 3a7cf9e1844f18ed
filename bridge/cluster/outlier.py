"""Passive health checking: an instance whose calls keep failing gets none for some time (outlier detection).

The rules follow Envoy's outlier detection in its simplest form: failures in a row, no statistics of success rates.
One `OutlierDetector` is shared by all routes and protocols that lead to one mesh name and port.
`bridge.cluster.attempts` reports the outcomes of calls; `bridge.cluster.balance` gets the instances in service.

- `CONSECUTIVE` failures in a row eject an instance for `EJECTION` seconds times the number of its ejections, at most
  `MAX_EJECTION`, with some jitter. An ejection is forgotten for each `EJECTION` seconds in service.
- At most half of the instances are ejected for failures. The others stay, however often they fail: the load of an
  overloaded service must not go to ever fewer instances.
- An address that accepts no connection is ejected after the first failure, for `UNREACHABLE` seconds, even if half of
  the instances are ejected already: no call fails because of it, since the next address is tried.
- After that time one call goes there as a probe. If it succeeds, the instance is back, with a share of the calls that
  grows over `SLOW_START` seconds; if it fails, the instance is ejected again.
"""

from __future__ import annotations

import enum
import logging
import random
import time
from collections.abc import Callable, Collection, Sequence

from bridge.api.transport import Address

CONSECUTIVE = 5  #: failures in a row that eject an instance
EJECTION = 30.0  #: seconds that the first ejection lasts; the second twice as long, and so on
MAX_EJECTION = 300.0  #: seconds of the longest one
UNREACHABLE = 10.0  #: seconds for which an address that accepted no connection is skipped
JITTER = 0.1  #: of these times, added at random, so that several gateways do not return at once
PROBE_TIMEOUT = 10.0  #: seconds without a verdict on a probe after which another call is sent
SLOW_START = 10.0  #: seconds until a readmitted instance has its whole share …
STEPS = 10  #: … in this number of equal steps
REMEMBERED = 256  #: ejected instances of one name that are kept after they left its addresses

FAIR = 1.0  #: seconds after which a client's own timeout counts
SHORTEST = 0.1  #: seconds after which the route's timeout counts
HELD_UP = 0.2  #: seconds by which a deadline may be noticed late; after more, the reply may have arrived unread

_log = logging.getLogger("bridge.mesh")


def fair(seconds: float, client_timeout: float | None, delay: float = 0.0) -> bool:
    """Whether a timeout counts as the instance's failure. Clients choose their own timeouts, and a very short one must
    not eject healthy instances. Neither must a moment in which the gateway itself was blocked.

    :param seconds: the time that the instance had.
    :param client_timeout: the client's own timeout in seconds, if shorter than the route's.
    :param delay: seconds after the deadline at which it was noticed.
    """
    return seconds >= (SHORTEST if client_timeout is None else FAIR) and delay < HELD_UP


class State(enum.Enum):
    """Of one instance."""

    IN_SERVICE = enum.auto()
    EJECTED = enum.auto()
    PROBED = enum.auto()  #: still out of service; a probe is in progress


class Instance:
    """One address of a mesh name that recently failed or was ejected. Times are those of the detector's clock.

    :ivar failures: in a row. :ivar ejections: for failures; determines how long the next one lasts.
    :ivar epoch: the detector's when `state` changed last; earlier calls say nothing about the current state.
    :ivar until: when the ejection ends, or the probe counts as lost. :ivar readmitted: when it returned to service.
    """

    __slots__ = ("address", "ejections", "epoch", "failures", "readmitted", "state", "until")

    def __init__(self, address: Address) -> None:
        self.address = address
        self.state = State.IN_SERVICE
        self.failures = self.ejections = self.epoch = 0
        self.until = self.readmitted = float("-inf")

    def remembers(self, now: float) -> bool:
        """Whether it differs from a new instance."""
        recent = now - self.readmitted < max(SLOW_START, EJECTION * self.ejections)
        return self.state is not State.IN_SERVICE or self.failures > 0 or recent


class OutlierDetector:
    """The instances of one mesh name and port: which of them are in service.

    A call reads `epoch` when it gets its addresses, and reports with it. Reports on addresses that the name no
    longer has are ignored, and all reports if it has fewer than two, since there is no other instance to use.

    :param upstream: ``name:port``, for the log.
    :param clock: seconds, monotonic.
    :ivar epoch: changes whenever an instance leaves the service or returns.
    :ivar suspects: the instances whose next success must be reported. Usually empty: then a success need not be
        reported.
    :ivar ejections: the number of ejections so far.
    """

    __slots__ = ("_addresses", "_clock", "_instances", "_upstream", "ejections", "epoch", "suspects")

    def __init__(self, upstream: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        self._upstream = upstream
        self._clock = clock
        self._addresses: Collection[Address] = ()
        self._instances: dict[Address, Instance] = {}
        self.epoch = self.ejections = 0
        self.suspects: dict[Address, Instance] = {}

    # --- reports of callers --------------------------------------------------------------------------------------

    def succeeded(self, address: Address, epoch: int) -> None:
        """The instance answered. Needed only while there are `suspects`."""
        instance = self.suspects.get(address)
        if instance is None or epoch < instance.epoch:
            return
        if instance.state is not State.IN_SERVICE:
            self.readmit(address)
            return
        instance.failures = 0
        del self.suspects[address]
        if not instance.remembers(self._clock()):
            del self._instances[address]

    def failed(self, address: Address, epoch: int, cause: str) -> None:
        """A call failed there: reset, closed, timed out after a `fair` time, or answered with a gateway failure."""
        instance = self._instance(address, epoch)
        if instance is None:
            return
        if instance.state is State.PROBED:
            self._eject_failing(instance, cause)
            return
        instance.failures += 1
        self.suspects[address] = instance
        if instance.failures < CONSECUTIVE:
            return
        if (self.ejected + 1) * 2 <= len(self._addresses):
            self._eject_failing(instance, cause)
        elif instance.failures == CONSECUTIVE:
            _log.warning(
                "%s: %s:%d failed %d calls in a row and stays in service, as half of the instances are ejected; "
                "the last: %s", self._upstream, *address, CONSECUTIVE, cause
            )  # fmt: skip

    def unreachable(self, address: Address, epoch: int, cause: str) -> None:
        """It accepted no connection. No call failed."""
        instance = self._instance(address, epoch)
        if instance is not None:
            self._eject(instance, UNREACHABLE, f"it takes no connection: {cause}")

    # --- queries of the balancer -----------------------------------------------------------------------------------

    @property
    def ejected(self) -> int:
        """The number of current addresses that are out of service."""
        return sum(not self.in_service(address) for address in self.suspects if address in self._addresses)

    def in_service(self, address: Address) -> bool:
        instance = self.suspects.get(address)
        return instance is None or instance.state is State.IN_SERVICE

    def share(self, address: Address, now: float) -> float:
        """Its share of its usual calls, between 0 and 1."""
        instance = self._instances.get(address)
        if instance is None or now - instance.readmitted >= SLOW_START:
            return 1.0
        return (int((now - instance.readmitted) * STEPS / SLOW_START) + 1) / STEPS

    def due(self, now: float) -> Sequence[Address]:
        """Instances whose ejection is over, or whose probe had no result; the oldest first."""
        instances = [
            instance
            for instance in self.suspects.values()
            if instance.state is not State.IN_SERVICE and instance.until <= now and instance.address in self._addresses
        ]
        return [instance.address for instance in sorted(instances, key=lambda instance: instance.until)]

    def out_until(self, address: Address) -> float:
        """When its ejection ends."""
        return self._instances[address].until

    def next_change(self, now: float) -> float:
        """When `due` or a `share` changes next, without further reports."""
        soonest = float("inf")
        for instance in self._instances.values():
            if instance.address not in self._addresses:
                continue
            if instance.state is not State.IN_SERVICE:
                soonest = min(soonest, instance.until)
            elif now - instance.readmitted < SLOW_START:
                steps = int((now - instance.readmitted) * STEPS / SLOW_START) + 1
                soonest = min(soonest, instance.readmitted + steps * SLOW_START / STEPS)
        return soonest

    def probe(self, address: Address) -> None:
        """A probe is about to be sent to an instance that is `due`; its report decides."""
        instance = self._instances[address]
        if instance.state is State.EJECTED:
            instance.state = State.PROBED
            self._changed(instance)
        instance.until = self._clock() + PROBE_TIMEOUT

    def readmit(self, address: Address) -> None:
        """It returns to service, with a growing share."""
        instance = self.suspects.pop(address)
        instance.state, instance.failures = State.IN_SERVICE, 0
        instance.readmitted = self._clock()
        self._changed(instance)
        _log.info("%s: %s:%d is back in service", self._upstream, *address)

    def retain(self, addresses: Collection[Address]) -> None:
        """Set the name's current addresses. Ejections of others are kept until they end, since a source may return
        another selection each time; at most `REMEMBERED`, since it may also return new addresses each time."""
        self._addresses = addresses
        now = self._clock()
        others = []
        for address, instance in list(self._instances.items()):
            if address in addresses:
                if not instance.remembers(now):
                    self._forget(address)
            elif instance.state is State.IN_SERVICE or instance.until <= now:
                self._forget(address)
            else:
                others.append(instance)
        others.sort(key=lambda instance: instance.until)
        for instance in others[: max(0, len(others) - REMEMBERED)]:
            self._forget(instance.address)

    # --------------------------------------------------------------------------------------------------------------

    def _instance(self, address: Address, epoch: int) -> Instance | None:
        """The instance, if a failure that is reported now counts; else None."""
        if len(self._addresses) < 2 or address not in self._addresses:
            return None
        instance = self._instances.get(address)
        if instance is None:
            instance = self._instances[address] = Instance(address)
        elif epoch < instance.epoch or instance.state is State.EJECTED:
            return None
        return instance

    def _eject_failing(self, instance: Instance, cause: str) -> None:
        if instance.state is State.IN_SERVICE:
            uptime = self._clock() - instance.readmitted
            instance.ejections = max(0, instance.ejections - int(min(uptime, 1e6) // EJECTION))
        instance.ejections += 1
        seconds = min(MAX_EJECTION, EJECTION * instance.ejections)
        self._eject(instance, seconds, f"{CONSECUTIVE} failed calls in a row, the last: {cause}")

    def _eject(self, instance: Instance, seconds: float, reason: str) -> None:
        was_in_service = instance.state is State.IN_SERVICE
        seconds *= 1 + JITTER * random.random()  # noqa: S311  # spreads gateways, guards nothing
        instance.state, instance.failures = State.EJECTED, 0
        instance.until = self._clock() + seconds
        self.suspects[instance.address] = instance
        self.ejections += 1
        self._changed(instance)
        if was_in_service:  # once, and not again for each probe that fails
            _log.warning("%s: %s:%d is ejected for %.0f s: %s", self._upstream, *instance.address, seconds, reason)

    def _changed(self, instance: Instance) -> None:
        self.epoch += 1
        instance.epoch = self.epoch

    def _forget(self, address: Address) -> None:
        del self._instances[address]
        self.suspects.pop(address, None)
