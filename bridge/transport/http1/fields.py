"""The fields of a request to a service: checked, in lower case, without those that end at the gateway."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bridge.api.call import HttpRequest
from bridge.errors import ClientError
from bridge.http.field_value import CONTROLS, as_utf8
from bridge.http.forwarding import end_to_end
from bridge.http.memo import Memo
from bridge.http.token import is_token

Field = tuple[str, str]

MAX_NAMES = 1024  #: cached field names; limited, since clients choose them

#: Decoding costs more than a local network's bytes. Replies that are compressed anyway are decoded.
_IDENTITY = ("accept-encoding", "identity")

_UNSENDABLE = re.compile(rf"[{CONTROLS}\ud800-\udfff]")  # control characters, and lone surrogates

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))

#: A name as received -> in lower case, or "" if it is not forwarded (`end_to_end`).
_names = Memo[str, str](MAX_NAMES)


def check_method(method: str) -> None:
    """:raises ClientError: it is not allowed in a request line (RFC 9110, section 9.1)."""
    if method not in _METHODS and not is_token(method):
        raise ClientError("The method holds characters that HTTP does not allow.")


def outgoing(host: Field, request: HttpRequest, trace: Sequence[Field]) -> list[Field]:
    """All fields of `request`, framing excepted.

    :param host: the Host field.
    :param trace: fields to add; they replace the request's fields of those names.
    :raises ClientError: one is not allowed in an HTTP message.
    """
    names = _names
    skip = [name for name, _ in trace]
    for name in skip:
        if name not in names:
            _learn(name)
    if request.decode:
        skip.append("accept-encoding")
    fields = [host]
    has_connection = False
    for field in request.headers:
        name = field[0]
        lower = names.get(name)
        if lower is None:
            lower = _learn(name)
        if lower:
            if lower not in skip:
                fields.append(field if lower == name else (lower, field[1]))
        elif name.lower() == "connection":
            has_connection = True
    if has_connection:  # rare: it names other fields that are not forwarded
        end_to_end_fields = end_to_end([(name.lower(), value) for name, value in request.headers])
        fields = [host, *(field for field in end_to_end_fields if field[0] not in skip)]
    fields += trace
    if request.decode:
        fields.append(_IDENTITY)
    values = "".join([value for _, value in fields])
    if not (values.isascii() and values.isprintable()):
        return [(name, _octets(name, value)) for name, value in fields]
    return fields


def _learn(name: str) -> str:
    """:raises ClientError: `name` is not a valid field name (RFC 9110, section 5.1)."""
    if not is_token(name):
        raise ClientError("A header's name holds characters that HTTP does not allow.")
    lower = name.lower()
    result = _names[name] = lower if end_to_end([(lower, "")]) else ""
    return result


def _octets(name: str, value: str) -> str:
    """`value` for a client that encodes in UTF-8.

    Octets above ASCII arrive as Latin-1 characters. If they are UTF-8, the same octets are sent, otherwise the
    characters are encoded as UTF-8.

    :raises ClientError: it is not allowed in a header (RFC 9110, section 5.5).
    """
    if value.isascii() and value.isprintable():
        return value
    if _UNSENDABLE.search(value):
        raise ClientError(f"The header {name} holds characters that HTTP does not allow.")
    return as_utf8(value)
