"""Calls that failed behind the gateway, in its own log: without them, who watches the terminal sees nothing."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from bridge.api.record import Record
from bridge.observe.masking import masked_path, masked_text
from bridge.wording import counted

MAX_CAUSE = 500  #: characters of a cause, which may be a text of the service
INTERVAL = 10.0  #: seconds between two messages about the same upstream and status

log = logging.getLogger("bridge.upstream")


@dataclass(slots=True)
class _Message:
    """The last message about an upstream and status.

    :ivar at: when it was logged, on the clock. :ivar unsaid: failures since then.
    """

    at: float
    unsaid: int = 0


class Failures:
    """Logs failed calls of each upstream: the first at once, then at most one in `INTERVAL` with the number of those in
    between. It is called on the access log's thread, so that a request pays nothing for it.

    :param clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._messages: dict[tuple[str, int], _Message] = {}

    def count(self, record: Record) -> None:
        """Log `record` if it is a call with an upstream whose response has a status of 500 or above, or broke off."""
        is_cut = record.status < 400 and bool(record.cause)
        if not record.upstream or record.client_failed or record.gateway_failed:
            return
        if not (record.status >= 500 or is_cut):
            return
        now, key = self._clock(), (record.upstream, record.status)
        last = self._messages.get(key)
        if last is None:
            last = self._messages[key] = _Message(now)
        elif now - last.at < INTERVAL:
            last.unsaid += 1
            return
        cause = (
            _printable(masked_text(record.cause)) or f"the service answered {record.upstream_status or record.status}"
        )
        others = f"; {counted(last.unsaid, 'more call')} failed like this since the last message" if last.unsaid else ""
        log.warning(
            "%s: %s %s got %s: %s (trace %s)%s",
            record.upstream, record.method, masked_path(record.path),
            "an incomplete answer" if is_cut else record.status, cause, record.trace_id, others,
            extra={"trace_id": record.trace_id},
        )  # fmt: skip
        last.at, last.unsaid = now, 0


def _printable(text: str) -> str:
    """`text` on one line, without control sequences for the terminal it may be shown on."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:MAX_CAUSE])
