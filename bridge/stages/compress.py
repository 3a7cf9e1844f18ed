"""Compressed replies: the stage of a route's ``compress`` (RFC 9110, sections 8.4, 8.8.3 and 12.5.3)."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import AsyncIterable, Awaitable, Sequence
from dataclasses import replace
from functools import partial
from typing import ClassVar

from bridge.api.call import Call, Reply, Trailers
from bridge.api.capabilities import Closing, Trailed, capability
from bridge.api.exchange import Exchange
from bridge.api.media import media_type
from bridge.api.spec.compress import Compress
from bridge.api.stage import BoundOperation, Handler
from bridge.errors import DeadlineExceeded, Overloaded
from bridge.http.accept_encoding import Choice, choose
from bridge.http.compression import CODINGS, compress, compressor
from bridge.http.memo import Memo
from bridge.payload import offload

INLINE = 64 * 1024  #: bytes of a body from which compressing it leaves the event loop
MAX_VARIANTS = 16 * 1024**2  #: bytes of stored replies and their compressed forms that one operation keeps
_LARGEST_VARIANT = 2 * 1024**2  #: bytes of a stored reply whose compressed form is kept

#: Statuses without content, or with a part of a representation, which is a range of its bytes as they are.
_AS_IT_IS = frozenset((204, 205, 206, 304))
_NO_TRANSFORM = re.compile(r"(?:^|[\s,])no-transform(?:$|[\s,])", re.IGNORECASE)
#: Each piece must arrive when it is sent, or has a compression of its own.
_NEVER = re.compile(r"text/event-stream|multipart/.*|application/grpc.*|application/connect\+.*")
#: Fields about the bytes of the body (RFC 9110, sections 8.6 and 14.3; RFC 9530), which are others now.
_OF_THE_BYTES = frozenset(
    ("content-length", "content-encoding", "content-md5", "content-digest", "repr-digest", "digest", "accept-ranges")
)
#: Of a compressed reply's entity-tag; clients send it back in these fields.
_SUFFIX = "--"
_CONDITIONS = frozenset(("if-none-match", "if-match"))
_TAGGED = re.compile(rf'"([\x21\x23-\x7e\x80-\xff]*){_SUFFIX}(?:zstd|gzip)"')
_VARY = "accept-encoding"


class Compressed:
    """:param everywhere: also for routes that don't say anything."""

    name: ClassVar[str] = "compress"

    def __init__(self, *, everywhere: bool) -> None:
        self._everywhere = everywhere

    def bind(self, operation: BoundOperation, next: Handler, /) -> Handler | None:
        """None for streams, whose messages must not wait."""
        spec = operation.spec.compress
        if spec is None:
            spec = self._everywhere
        if spec is False or operation.streams:
            return None
        options = Compress() if spec is True else spec
        variants = Variants(MAX_VARIANTS) if operation.cache is not None else None
        return partial(_handle, Compressing(options, variants), next)


def _handle(compressing: Compressing, next: Handler, exchange: Exchange) -> Awaitable[Reply | None]:
    return _answer(compressing, next, exchange)


async def _answer(compressing: Compressing, next: Handler, exchange: Exchange) -> Reply | None:
    call = exchange.call
    choice = compressing.choice(call)
    # Before the next stages, which may remove fields.
    verbatim = bool(_NO_TRANSFORM.search(call.header("cache-control")))
    conditions = None if _CONDITIONS.isdisjoint(call.fields) else _plain_conditions(call)
    reply = await next(exchange)
    if reply is not None and reply.status == 304:
        return _not_modified(reply, conditions or ())
    if reply is None or verbatim:
        return reply
    return await compressing.encoded(choice, reply, exchange)


def _plain_conditions(call: Call) -> Sequence[str]:
    """Add the tags of replies without a coding to the conditions of `call` that name compressed ones, since the later
    stages and services know no others.

    :returns: the compressed ones' tags of ``If-None-Match``.
    """
    known = [match[0] for value in call.values("if-none-match") for match in _TAGGED.finditer(value)]
    call.headers = [
        (name, _TAGGED.sub(lambda match: f'{match[0]}, "{match[1]}"', value)) if name in _CONDITIONS else (name, value)
        for name, value in call.headers
    ]
    return known


def _not_modified(reply: Reply, known: Sequence[str]) -> Reply:
    """A 304 with the tag of the variant that the client has (RFC 9110, section 15.4.5)."""
    tags = {_TAGGED.sub(r'"\1"', tag): tag for tag in known}
    fields = [(name, tags.get(value, value) if name.lower() == "etag" else value) for name, value in reply.headers]
    return Reply(reply.status, _varied(fields), reply.body)


class Compressing:
    """One operation's replies.

    :param variants: the compressed forms of stored replies; None where none are stored.
    """

    def __init__(self, options: Compress, variants: Variants | None) -> None:
        self._min_size, self._variants = options.min_size, variants
        self._offers = [coding for coding in options.codings if coding in CODINGS]
        self._choices = Memo[str, Choice](256)
        pattern = "|".join(re.escape(each).replace(r"\*", "[^;]*") for each in options.types)
        self._fits = re.compile(pattern).fullmatch

    def choice(self, call: Call) -> Choice:
        values = call.values(_VARY)
        accept = values[0] if len(values) == 1 else ",".join(values)
        choice = self._choices.get(accept)
        if choice is None:
            choice = choose(accept, self._offers)
            if len(accept) <= 256:
                self._choices[accept] = choice
        return choice

    async def encoded(self, choice: Choice, reply: Reply, exchange: Exchange) -> Reply:
        """`reply` in the chosen coding, or as it is where it has no other form. Either says what it depends on."""
        fields = {name.lower(): value for name, value in reply.headers}
        if not self._varies(reply.status, fields, choice):
            return reply
        body = reply.body
        size = len(body) if isinstance(body, bytes) and body else _length(fields)
        if size is not None and (size == 0 or (size < self._min_size and not choice.refuses_identity)):
            return reply
        plain = replace(reply, headers=_varied(reply.headers))
        if not choice.coding:
            return plain
        if not isinstance(body, bytes):
            pieces = CompressedPieces(body, choice.coding, live=size is None)
            return replace(reply, headers=_coded(reply.headers, choice.coding), body=pieces)
        if not body and size is None:  # a HEAD's; what GET's reply is like is not known
            return plain
        coded = await self._compressed(body, choice, exchange) if body else b""
        if coded is None:
            return plain
        trailers = Trailers(field for field in reply.trailers if field[0] not in _OF_THE_BYTES)
        return Reply(reply.status, _coded(reply.headers, choice.coding), coded, trailers)

    def _varies(self, status: int, fields: dict[str, str], choice: Choice) -> bool:
        """Whether a reply with these fields is compressed for some clients."""
        if status in _AS_IT_IS or fields.get("content-encoding", "identity").lower() != "identity":
            return False
        if "content-range" in fields or _NO_TRANSFORM.search(fields.get("cache-control", "")):
            return False
        kind = media_type(fields.get("content-type", ""))
        return not _NEVER.fullmatch(kind) and (choice.refuses_identity or self._fits(kind) is not None)

    async def _compressed(self, body: bytes, choice: Choice, exchange: Exchange) -> bytes | None:
        """None: it is not smaller, or there is no time; as it is, it is a good reply, too."""
        stored = self._variants if self._variants is not None and len(body) <= _LARGEST_VARIANT else None
        coded = stored.get(choice.coding, body) if stored is not None else None
        if coded is None:
            if len(body) <= INLINE:
                coded = compress(body, choice.coding)
            else:
                work = partial(compress, body, choice.coding)
                try:
                    coded = await offload.run(len(body), work, deadline=exchange.deadline)
                except (Overloaded, DeadlineExceeded):
                    return None
            if stored is not None:
                stored.keep(choice.coding, body, coded)
        return coded if len(coded) < len(body) or choice.refuses_identity else None


class Variants:
    """Compressed forms of replies that a cache gives again and again; the ones used longest ago are dropped.

    The body itself is the key: the same one is found without reading it, since Python keeps its hash with it.

    :param max_bytes: of bodies and their forms.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._forms: OrderedDict[tuple[str, bytes], bytes] = OrderedDict()
        self.size = 0  #: bytes in use, as counted against `max_bytes`

    def get(self, coding: str, body: bytes) -> bytes | None:
        form = self._forms.get((coding, body))
        if form is not None:
            self._forms.move_to_end((coding, body))
        return form

    def keep(self, coding: str, body: bytes, form: bytes) -> None:
        if (coding, body) in self._forms:
            return
        self._forms[coding, body] = form
        self.size += len(body) + len(form)
        while self.size > self._max_bytes:
            (_, oldest), its_form = self._forms.popitem(last=False)
            self.size -= len(oldest) + len(its_form)


class CompressedPieces:
    """A body in pieces, compressed as they come.

    :param live: its length is not known, so each piece may be waited for: it can be decoded when it is sent.
    """

    def __init__(self, pieces: AsyncIterable[bytes], coding: str, *, live: bool) -> None:
        self._iterator = aiter(pieces)
        self._compressor, self._live, self._ended = compressor(coding), live, False

    def __aiter__(self) -> CompressedPieces:
        return self

    async def __anext__(self) -> bytes:
        while not self._ended:
            try:
                piece = await anext(self._iterator)
            except StopAsyncIteration:
                self._ended = True
                return self._compressor.finish()
            data = self._compressor.feed(piece, flush=self._live) if piece else b""
            if data:
                return data
        raise StopAsyncIteration

    @property
    def trailers(self) -> Sequence[tuple[str, str]]:
        trailed = capability(self._iterator, Trailed)
        return [field for field in trailed.trailers if field[0] not in _OF_THE_BYTES] if trailed is not None else ()

    async def aclose(self) -> None:
        self._ended = True
        closing = capability(self._iterator, Closing)
        if closing is not None:
            await closing.aclose()


def _length(fields: dict[str, str]) -> int | None:
    value = fields.get("content-length", "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 19 else None


def _coded(headers: Sequence[tuple[str, str]], coding: str) -> list[tuple[str, str]]:
    """The fields of a compressed reply. A strong entity-tag is another than that of the reply as it is (section
    8.8.3.3); a weak one may be the same."""
    fields = [field for field in headers if field[0].lower() not in _OF_THE_BYTES]
    fields = [
        (name, f'{value[:-1]}{_SUFFIX}{coding}"') if name.lower() == "etag" and value.startswith('"') else (name, value)
        for name, value in fields
    ]
    fields.append(("content-encoding", coding))
    return _varied(fields)


def _varied(headers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """`headers` with ``Vary: Accept-Encoding`` (section 12.5.5), unless they say so."""
    names = {part.strip().lower() for name, value in headers if name.lower() == "vary" for part in value.split(",")}
    return [*headers] if names & {"*", _VARY} else [*headers, ("vary", "Accept-Encoding")]
