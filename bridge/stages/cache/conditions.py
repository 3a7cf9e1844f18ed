"""Conditional requests of a route with a cache (RFC 9110, section 13.2.2; RFC 9111, section 4.3.2).

The gateway judges all of them: what a service would judge is not what clients have, where the reply was translated or
stored, or got its entity-tag here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from bridge.api.call import Call, Reply
from bridge.errors import PreconditionFailed
from bridge.http.preconditions import has_changed, not_modified

CONDITIONS = frozenset(("if-match", "if-unmodified-since", "if-none-match", "if-modified-since"))

#: What a 304 doesn't have (RFC 9110, section 15.4.5): fields about the body. All others concern the client in any case,
#: such as those of CORS and ``Set-Cookie``.
_OF_THE_BODY = frozenset(
    (
        "content-type", "content-length", "content-encoding", "content-language", "content-range", "content-md5",
        "content-digest", "repr-digest", "digest", "accept-ranges",
    )
)  # fmt: skip
_MAX_TAGGED = 2 * 1024**2  #: bytes of a body that gets an entity-tag: hashing them takes about two milliseconds


@dataclass(frozen=True, slots=True)
class Conditions:
    """The conditions of one request."""

    match: Sequence[str]
    unmodified_since: str
    none_match: Sequence[str]
    modified_since: str

    @classmethod
    def of(cls, call: Call) -> Conditions | None:
        """None: the request has none."""
        if CONDITIONS.isdisjoint(call.fields):
            return None
        return cls(
            call.values("if-match"),
            call.header("if-unmodified-since"),
            call.values("if-none-match"),
            call.header("if-modified-since"),
        )

    def judged(self, reply: Reply) -> Reply:
        """`reply`, or 304 if the client has it.

        :raises PreconditionFailed: the client asks for another version.
        """
        if reply.status != 200:
            return reply
        etag, modified = _field(reply, "etag"), _field(reply, "last-modified")
        if has_changed(self.match, self.unmodified_since, etag, modified):
            raise PreconditionFailed(
                "The reply is another version than If-Match or If-Unmodified-Since asks for.",
                headers=[("etag", etag)] if etag else (),
            )
        if not not_modified(self.none_match, self.modified_since, etag, modified):
            return reply
        return Reply(304, [field for field in reply.headers if field[0].lower() not in _OF_THE_BODY])


def tagged(call: Call, reply: Reply) -> Reply:
    """`reply` with an entity-tag of its body, unless the service gave it one."""
    body = reply.body
    whole = reply.status == 200 and call.method == "GET" and isinstance(body, bytes)
    if whole and 0 < len(reply.content) <= _MAX_TAGGED and not _field(reply, "etag"):
        reply.headers.append(("etag", f'"{blake2b(reply.content, digest_size=16).hexdigest()}"'))
    return reply


def _field(reply: Reply, name: str) -> str:
    """A plug-in may write names in upper case."""
    return next((value for key, value in reply.headers if key.lower() == name), "")
