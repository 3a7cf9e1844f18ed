"""A document that a plug-in fetched by URL, and the error for one that it can't use."""

from __future__ import annotations

import logging
import time

from bridge.api.grants import current_grant
from bridge.errors import Fault, FetchError
from bridge.http.memo import Memo

REPEAT = 300.0  #: seconds for which the same failure is logged once
MAX_LOGGED = 1000  #: failures that are remembered for this

log = logging.getLogger("bridge.fetch")
_logged = Memo[tuple[str, str], float](MAX_LOGGED)


class Fetched(bytes):
    """A document that was fetched.

    :ivar url: its own URL, to which redirects led; references in it are relative to that (RFC 3986, section 5.1.3).
    """

    url: str

    def __new__(cls, body: bytes, url: str) -> Fetched:
        document = super().__new__(cls, body)
        document.url = url
        return document


def fetch_error(url: str, reason: str, *, line: int = 0, answered: bool = True, status: int = 0) -> FetchError:
    """The error for a document at `url` that can't be fetched, or has the wrong content.

    The text depends on who wrote the route that is being bound: the operator gets `reason`; a publisher gets the same
    sentence for every reason, and the log has the reason.
    """
    grant = current_grant()
    if grant is not None and grant.operator:
        return FetchError(Fault(reason, file=url, line=line), answered=answered, status=status)
    whose = f"a route of tenant {grant.tenant}" if grant is not None and grant.tenant else "a route"
    if _is_news(url, reason):
        log.warning("%s, which %s names, can't be fetched: %s", url, whose, reason)
    return FetchError(Fault(f"nothing of use can be fetched from {url}"), answered=answered)


def _is_news(url: str, reason: str) -> bool:
    """Whether it was not logged within the last `REPEAT` seconds: a route that can't be bound is tried each second."""
    now, key = time.monotonic(), (url, reason)
    if now - _logged.get(key, -REPEAT) < REPEAT:
        return False
    _logged[key] = now
    return True
