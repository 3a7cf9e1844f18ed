"""SOAP with Attachments: message parts outside the envelope (WSDL 1.1, section 5; WS-I Attachments Profile 1.0). In
JSON they are in ``#attachments``, by the part's name."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote

from bridge.api import Call
from bridge_soap.datatypes.simple_out import kind_of
from bridge_soap.encode.writing import At, Faults, pointer
from bridge_soap.message.multipart import BodyPart
from bridge_soap.xsd.model import TEXT

ATTACHMENTS = "#attachments"
CONTENT_TYPE = "@contentType"
_WORD = r"[!#$&^_.+\w-]+"
_MEDIA = re.compile(rf'{_WORD}/{_WORD}(?:[ \t]*;[ \t]*{_WORD}=(?:{_WORD}|"[^"\r\n\\]*"))*', re.ASCII)
_ANY_MEDIA = "application/octet-stream"


class Attachments:
    """The attachments of one direction.

    :param declared: content types by part. If empty, or with a ``*`` in them, any type is allowed.
    :ivar bare: the body is a simple value. In JSON it is the ``#text`` of an object, to have attachments beside it.
    """

    def __init__(self, declared: Mapping[str, Sequence[str]], *, bare: bool = False) -> None:
        self._declared, self.bare = declared, bare

    # --- out ---

    def take(self, call: Call, value: Any, bad: Faults) -> tuple[Any, list[BodyPart]]:
        """A body without its attachments, and the attachments as parts."""
        attachments = value.get(ATTACHMENTS, {}) if value.__class__ is dict else {}
        if attachments.__class__ is not dict:
            bad.append((f"/{ATTACHMENTS}", f"an object is wanted, not {kind_of(attachments)}"))
            attachments = {}
        for name in attachments:
            if name not in self._declared:
                bad.append((pointer(((None, ATTACHMENTS), name)), "the binding declares no such attachment"))
        parts = []
        for name, types in self._declared.items():
            if name in attachments:
                part = self._part(call, name, types, attachments[name], bad)
                if part is not None:
                    parts.append(part)
            else:
                bad.append((pointer(((None, ATTACHMENTS), name)), "it is required"))
        if value.__class__ is dict and ATTACHMENTS in value:
            value = {key: item for key, item in value.items() if key != ATTACHMENTS}
        return self._bared(value, bad) if self.bare else value, parts

    def _bared(self, value: Any, bad: Faults) -> Any:
        """The simple value in an object without its attachments."""
        if value.__class__ is not dict:
            return value  # its attachments are missing
        bad += [(pointer((None, key)), "the schema has no such property here") for key in value if key != TEXT]
        if TEXT not in value:
            bad.append((pointer((None, TEXT)), "it is required"))
        return value.get(TEXT)

    def _part(self, call: Call, name: str, types: Sequence[str], value: Any, bad: Faults) -> BodyPart | None:
        at: At = ((None, ATTACHMENTS), name)
        kind: Any = next((each for each in types if "*" not in each), _ANY_MEDIA)
        if value.__class__ is dict:
            for key in value:
                if key not in (CONTENT_TYPE, TEXT):
                    bad.append((pointer((at, key)), "an attachment has no such property"))
            kind = value.get(CONTENT_TYPE, kind)
            if not isinstance(kind, str) or not _MEDIA.fullmatch(kind):
                bad.append((pointer((at, CONTENT_TYPE)), "a media type such as image/png is wanted"))
                return None
            at = (at, TEXT)
            if TEXT not in value:
                bad.append((pointer(at), "it is required"))
                return None
            value = value[TEXT]
        if value.__class__ is not str:
            bad.append((pointer(at), f"base64 is wanted as a string, not {kind_of(value)}"))
            return None
        try:
            body = base64.b64decode("".join(value.split()), validate=True)
        except (binascii.Error, ValueError):
            bad.append((pointer(at), "it is not base64"))
            return None
        # The id starts with the part's name and has a unique rest (WS-I AP 1.0, section 3.8).
        return BodyPart(f"{quote(name, safe='')}={call.random(16).hex()}@bridge", kind, body)

    # --- in ---

    def read(self, parts: Sequence[BodyPart], warnings: list[str]) -> dict[str, Any]:
        """The content of ``#attachments``: parts by the name in their id, the others in the binding's order."""
        by_name: dict[str, BodyPart] = {}
        others: list[BodyPart] = []
        for part in parts:
            name = unquote(part.id.partition("=")[0])
            if name in self._declared and name not in by_name:
                by_name[name] = part
            else:
                others.append(part)
        for name in self._declared:
            if name not in by_name and others:
                by_name[name] = others.pop(0)
        if others:
            what = "1 attachment" if len(others) == 1 else f"{len(others)} attachments"
            warnings.append(f"{what} left out, since the binding does not declare more")
        missing = [name for name in self._declared if name not in by_name]
        if missing:
            warnings.append(f"the attachments {', '.join(missing)} are missing")
        return {
            name: {CONTENT_TYPE: by_name[name].content_type, TEXT: base64.b64encode(by_name[name].body).decode()}
            for name in self._declared
            if name in by_name
        }


def attachments_schema(declared: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The JSON Schema of ``#attachments``."""
    text = {"type": "string", "contentEncoding": "base64"}
    properties = {}
    for name, types in declared.items():
        content = {CONTENT_TYPE: {"type": "string"}, TEXT: text}
        whole = {"type": "object", "properties": content, "required": [TEXT], "additionalProperties": False}
        properties[name] = {"anyOf": [whole, text], "description": ", ".join(types) or "any content"}
    return {
        "type": "object",
        "properties": properties,
        "required": list(declared),
        "additionalProperties": False,
    }
