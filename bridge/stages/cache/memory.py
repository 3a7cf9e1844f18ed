"""The micro cache behind ``cache: {ttl}``: repeated calls within a short time get the same reply.

A small shared cache as defined by RFC 9111: 200 replies to GET and HEAD, in memory, for `ttl` seconds. The caller is
not part of the key unless the reply requires it (``Vary``), or the request has credentials that the route's auth didn't
consume and that are therefore sent upstream.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from bridge.api.call import Call, Reply
from bridge.errors import DeadlineExceeded

MAX_BYTES = 16 * 1024**2  #: of one cache
MAX_ENTRIES = 4096

_NOT_STORED = re.compile(r"(?:^|[\s,])(?:no-store|no-cache|private)(?:$|[\s,=])", re.IGNORECASE)
_MAX_AGE = re.compile(r"(?:^|[\s,])(?:s-maxage|max-age)\s*=\s*\"?(\d{1,9})", re.IGNORECASE)
_S_MAXAGE = re.compile(r"(?:^|[\s,])s-maxage\s*=\s*\"?(\d{1,9})", re.IGNORECASE)
#: Fields that do not identify the caller. A reply that varies by any other is stored for each caller separately,
#: since auth may have consumed the field, so that it is missing from the call.
_IMPERSONAL = frozenset(
    {"accept", "accept-encoding", "accept-language", "accept-charset", "origin", "user-agent", "host"}
)
#: Fields by which a caller proves who it is.
_CREDENTIALS = frozenset(("authorization", "cookie", "x-api-key"))
_OVERHEAD = 512  #: bytes of an entry in addition to its text


@dataclass(slots=True)
class _Entry:
    """A stored reply; `reply` is ``None`` if the reply may not be stored, so that no call waits for it in vain."""

    reply: Reply | None
    stored: float
    expires: float
    size: int


def cache_key(operation: str, call: Call, method: str = "") -> str | None:
    """The key of `call` to `operation`, or of the same call by another `method`; ``None`` if its reply is never stored.

    `call` is as the transformer gets it: without the credentials that auth consumed. Other credentials are sent
    upstream and may change the reply, so they are part of the key (as a digest; RFC 9111, section 3.5).

    :param operation: its path below the route, which GET and HEAD share where both are published.
    """
    if call.method not in ("GET", "HEAD") or call.body:
        return None
    own = [f"{name}:{value}" for name, value in call.headers if name in _CREDENTIALS]
    who = hashlib.sha256("\0".join(own).encode()).hexdigest() if own else ""
    return "\n".join((operation, method or call.method, call.target, call.header("accept"), who))


class MemoryCache:
    """The replies of one route, kept in this process.

    :param ttl: seconds a reply is kept; less where its own ``max-age`` or ``s-maxage`` says less.
    :param clock: seconds, monotonic.
    """

    def __init__(
        self,
        ttl: float,
        *,
        max_bytes: int = MAX_BYTES,
        max_entries: int = MAX_ENTRIES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ttl = ttl
        self._max_bytes = max_bytes
        self._max_entries = max_entries
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._bytes = 0
        #: By key: the request fields by which its replies vary, from the last reply.
        self._vary: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        self._flights: dict[str, asyncio.Future[None]] = {}

    @property
    def size(self) -> int:
        """Bytes in use, as counted against `max_bytes`."""
        return self._bytes

    def known(self, key: str, call: Call) -> Reply | None:
        """A stored reply, with ``X-Cache`` and ``Age``."""
        entry = self._look(self._full_key(key, call))
        if entry is None or entry.reply is None:
            return None
        return _marked(entry.reply, int(self._clock() - entry.stored))

    async def get_or_call(
        self,
        key: str,
        fetch: Callable[[], Awaitable[Reply]],
        call: Call | None = None,
        *,
        deadline: float | None = None,
    ) -> tuple[Reply, bool]:
        """The reply for `key`, and whether it was stored. It has ``X-Cache``, and ``Age`` if it was.

        Of several simultaneous calls, one goes upstream and the others wait for it. If it fails or its reply may not be
        stored, each of the others goes upstream itself.

        :param call: the call, for replies with ``Vary``; without it, such replies are not stored.
        :param deadline: in the running loop's `time()`, for waiting for another call's reply; `fetch` has its own.
        :raises bridge.errors.DeadlineExceeded: `deadline` passed during the wait for another call's reply.
        :raises: what `fetch` raises; a failure is never stored.
        """
        full = self._full_key(key, call)
        entry = self._look(full)
        if entry is None and full in self._flights:
            try:
                async with asyncio.timeout_at(deadline):
                    await asyncio.shield(self._flights[full])
            except TimeoutError:
                raise DeadlineExceeded(cause="the deadline passed while another call's reply was waited for") from None
            # The first reply may just have determined the fields of ``Vary``.
            full = self._full_key(key, call)
            entry = self._look(full)
            if entry is None:
                return _marked(await fetch(), None), False
        if entry is not None:
            if entry.reply is None:
                return _marked(await fetch(), None), False
            return _marked(entry.reply, int(self._clock() - entry.stored)), True
        flight = self._flights[full] = asyncio.get_running_loop().create_future()
        try:
            reply = await fetch()
            self._store(key, call, reply)
        finally:
            del self._flights[full]
            flight.set_result(None)
        return _marked(reply, None), False

    def _full_key(self, key: str, call: Call | None) -> str:
        vary = self._vary.get(key)
        if not vary or call is None:
            return key
        values = ["\0".join(value for field, value in call.headers if field == name) for name in vary]
        if not _IMPERSONAL.issuperset(vary):
            values.append(call.identity.key)
        return "\n".join((key, *values))

    def _look(self, full: str) -> _Entry | None:
        entry = self._entries.get(full)
        if entry is None:
            return None
        if self._clock() >= entry.expires:
            self._drop(full)
            return None
        self._entries.move_to_end(full)
        return entry

    def _store(self, key: str, call: Call | None, reply: Reply) -> None:
        names = {name.strip().lower() for value in _values(reply, "vary") for name in value.split(",")} - {""}
        vary = tuple(sorted(names))
        seconds = self._lifetime(reply) if "*" not in vary and (call is not None or not vary) else 0.0
        if vary and seconds:
            self._vary[key] = vary
            self._vary.move_to_end(key)
            if len(self._vary) > self._max_entries:
                self._vary.popitem(last=False)
        else:
            self._vary.pop(key, None)
        full, now = self._full_key(key, call), self._clock()
        self._drop(full)
        if reply.status != 200:
            return  # the next one may be 200; a failure has no effect on the cache
        size = len(full) + _OVERHEAD
        copy = None
        if seconds:
            fields = (*reply.headers, *reply.trailers)
            weight = len(reply.content) + sum(len(name) + len(value) for name, value in fields)
            if size + weight <= self._max_bytes // 8:
                copy, size = replace(reply, headers=list(reply.headers)), size + weight
        self._entries[full] = _Entry(copy, now, now + (seconds or self._ttl), size)
        self._bytes += size
        while self._bytes > self._max_bytes or len(self._entries) > self._max_entries:
            self._drop(next(iter(self._entries)))

    def _lifetime(self, reply: Reply) -> float:
        """Seconds for which `reply` may be stored; 0: not at all."""
        control = ",".join(_values(reply, "cache-control"))
        if reply.status != 200 or _NOT_STORED.search(control) or _values(reply, "set-cookie"):
            return 0.0
        if not isinstance(reply.body, bytes):  # its pieces can be read once
            return 0.0
        age = _S_MAXAGE.search(control) or _MAX_AGE.search(control)
        return min(self._ttl, float(age[1])) if age else self._ttl

    def _drop(self, full: str) -> None:
        entry = self._entries.pop(full, None)
        if entry is not None:
            self._bytes -= entry.size


def _values(reply: Reply, name: str) -> list[str]:
    return [value for field, value in reply.headers if field.lower() == name]


def _marked(reply: Reply, age: int | None) -> Reply:
    """A copy for one caller: the gateway adds fields of its own to what it sends."""
    headers = [(name, value) for name, value in reply.headers if age is None or name.lower() != "age"]
    if age is not None:
        before = next(iter(_values(reply, "age")), "")
        headers.append(("age", str(age + (int(before) if re.fullmatch("[0-9]{1,9}", before) else 0))))
    headers.append(("x-cache", "MISS" if age is None else "HIT"))
    return replace(reply, headers=headers)
