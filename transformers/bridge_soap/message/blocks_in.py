"""The header blocks of a reply, to ``#headers`` in its JSON and to fields of the HTTP response."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lxml import etree

from bridge_soap.decode.decoders import Note, Reader
from bridge_soap.message.fields import ReplyField
from bridge_soap.names import SOAP11, SOAP12, attributes_of, local_name, tag_of

_MAX_WARNINGS = 20
_OURS = (f"{{{SOAP11}}}", f"{{{SOAP12}}}")


class ReplyBlocks:
    """Reads ``soap:Header``.

    :param readers: readers of declared blocks by tag.
    :param keys: the properties in ``#headers`` of the blocks that the route passes, by tag.
    :param fields: the blocks' values that become fields of the HTTP response.
    """

    def __init__(self, readers: Mapping[str, Reader], keys: Mapping[str, str], fields: tuple[ReplyField, ...]) -> None:
        self._readers, self._keys, self._fields = readers, keys, fields

    def read(
        self, header: etree._Element, note: Note, warnings: list[str]
    ) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        """The passed blocks by property, and the fields of the response."""
        values: dict[str, Any] = {}
        for block in header:
            tag = tag_of(block)
            reader = self._readers.get(tag)
            if reader is None:
                if len(warnings) < _MAX_WARNINGS and _must_understand(block):
                    # The gateway is the ultimate receiver. It does not process header blocks, but the call is already
                    # done, so the reply is not refused.
                    warnings.append(f"the reply's header block {local_name(tag)} says mustUnderstand; it is ignored")
            elif tag in values:
                note(block, "it stands twice in the header; the first one counts")
            else:
                _drop_soap_attributes(block)
                values[tag] = reader(block, note)
        fields = [
            (field.name, text)
            for field in self._fields
            if field.tag in values
            if (text := field.text(values[field.tag], warnings))
        ]
        return {key: values[tag] for tag, key in self._keys.items() if tag in values}, fields


def beside(value: Any, key: str, extras: dict[str, Any], warnings: list[str]) -> Any:
    """The reply's JSON with its header blocks or attachments."""
    if not extras:
        return value
    if not isinstance(value, dict):
        warnings.append(f"{', '.join(extras)} of the reply's {key} are left out: its body is no JSON object")
        return value
    return {**value, key: extras}


def _must_understand(block: etree._Element) -> bool:
    return any(block.get(f"{ns}mustUnderstand", "").strip() in ("1", "true") for ns in _OURS)


def _drop_soap_attributes(block: etree._Element) -> None:
    """Remove attributes in the envelope's namespace, which are not part of the block's content."""
    for name, _ in attributes_of(block):
        if name.startswith(_OURS):
            del block.attrib[name]
