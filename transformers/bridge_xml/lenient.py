"""Replies that are not well-formed in a way that loses little: repaired, with a warning for each repair."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from bridge.api import Call, HttpReply, XmlError, is_html, repair_xml

Value = TypeVar("Value")


def read_reply(
    read: Callable[[bytes, str], Value], call: Call, inbound: HttpReply, charset: str, *, strict: bool = False
) -> Value:
    """What `read` makes of the reply's body and charset, or of the repaired body.

    :param strict: nothing is repaired.
    :raises bridge.api.XmlError: the body can't be read.
    """
    try:
        return read(inbound.body, charset)
    except XmlError as error:
        if is_html(inbound.body):
            raise XmlError("it is an HTML page") from None
        result = repair_xml(inbound.body, charset) if not strict else None
        if result is None or not result[1]:
            raise
        body, notes = result
        try:
            value = read(body, "utf-8")
        except XmlError:
            raise error from None
        call.warnings += [f"the document: {note}" for note in notes]
        return value
