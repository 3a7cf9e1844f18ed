"""Whether a request's body is JSON, by its media type."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bridge.api.call import Call
from bridge.errors import UnsupportedMediaType

URLENCODED = "application/x-www-form-urlencoded"
JSON_TYPES = ("application/json",)

#: Characters with which a JSON object or array begins. No form begins so: browsers escape them.
_JSON_BEGINS = (b"{", b"[")
_BEFORE = b"\xef\xbb\xbf \t\r\n"  #: what may stand before JSON: a byte order mark and white space
#: A whole body that is a string, a number or a literal.
_SCALAR = re.compile(rb'(?:\xef\xbb\xbf)?[ \t\r\n]*(?:".*"|-?[0-9][0-9.eE+-]*|true|false|null)[ \t\r\n]*', re.DOTALL)


def media_type(content_type: str) -> str:
    """The media type of a ``Content-Type`` in lower case, without parameters (RFC 9110, section 8.3.1)."""
    return content_type.partition(";")[0].strip().lower()


def is_json(kind: str) -> bool:
    """Whether the media type `kind` is JSON (RFC 8259, section 11; RFC 6839, section 3.1)."""
    return kind in ("application/json", "text/json") or kind.endswith("+json")


def begins_as_json(body: bytes) -> bool:
    """Whether a body that is declared as a form begins as a JSON object or array."""
    return body[:4096].lstrip(_BEFORE)[:1] in _JSON_BEGINS


def read_as_json(call: Call) -> None:
    """Record that a body is read as JSON though it is declared as a form."""
    call.warnings.append("the body was read as JSON, though declared as a form")


def require_json(call: Call, media_types: Sequence[str] = JSON_TYPES, *, strict: bool = False) -> None:
    """Accept a body that is JSON under any of its media types, or under none.

    Clients that name no type, such as ``curl -d``, declare every body as a form. A body that looks like JSON is then
    accepted, with a warning.

    :param media_types: all that the operation reads, for the refusal.
    :param strict: refuse JSON that is declared as a form.
    :raises bridge.api.UnsupportedMediaType: it has another type; ``Accept`` lists what is read (RFC 9110, section
        15.5.16).
    """
    content_type = call.header("content-type")
    if not content_type or content_type == "application/json":
        return
    kind = media_type(content_type)
    if is_json(kind):
        return
    if kind == URLENCODED and (begins_as_json(call.body) or _SCALAR.fullmatch(call.body)):
        if strict:
            raise declared_as_form(media_types)
        read_as_json(call)
        return
    raise unreadable(kind, media_types)


def declared_as_form(media_types: Sequence[str] = JSON_TYPES) -> UnsupportedMediaType:
    """The refusal of JSON that is declared as a form."""
    return UnsupportedMediaType(
        "The body is JSON, declared as a form. Declare it as application/json.",
        headers=[("accept", ", ".join(media_types))],
    )


def unreadable(kind: str, media_types: Sequence[str] = JSON_TYPES) -> UnsupportedMediaType:
    """The refusal of a body of the media type `kind`."""
    names = ", ".join(media_types)
    return UnsupportedMediaType(f"This operation reads {names}, not {kind[:80]}.", headers=[("accept", names)])
