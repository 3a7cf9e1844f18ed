"""The header blocks of a request: those set by the route, and those that the client gives in ``#headers``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bridge.api import ABSENT, Call
from bridge_soap.datatypes.simple_out import kind_of
from bridge_soap.encode.writing import At, Faults, Writer, pointer
from bridge_soap.message.block import Block

#: The property of a body's object for header blocks.
HEADERS = "#headers"
_AT: At = (None, HEADERS)


class RequestBlocks:
    """The variable part of ``soap:Header``.

    :param blocks: the route's blocks that are not constant.
    :param passed: writers of the blocks that a client may give, by the property in ``#headers``.
    :param fixed: properties in ``#headers`` of declared blocks that the route sets itself.
    :ivar fields: response fields for caches, if the reply depends on a header field or the caller.
    """

    def __init__(self, blocks: Sequence[Block], passed: Mapping[str, Writer], fixed: frozenset[str]) -> None:
        self._blocks, self._passed, self._fixed = blocks, passed, fixed
        origins = [source.origin for block in blocks for source in block.sources]
        names = dict.fromkeys(origin.name.lower() for origin in origins if origin.kind == "header")
        self.fields: list[tuple[str, str]] = [("vary", ", ".join(names))] if names else []
        if any(origin.kind == "claim" for origin in origins):
            self.fields.append(("cache-control", "private"))

    def write(self, call: Call, value: Any, bad: Faults) -> tuple[Any, str]:
        """The body without its ``#headers``, and the blocks as XML. Faults in the client's blocks go to `bad`.

        :raises bridge.api.ClientError: a header field or claim for the route's blocks is missing or invalid.
        """
        text = "".join([block.write(call) for block in self._blocks])
        if value.__class__ is not dict or HEADERS not in value:
            return value, text
        blocks = value[HEADERS]
        return {key: item for key, item in value.items() if key != HEADERS}, text + self._client(blocks, bad)

    def _client(self, blocks: Any, bad: Faults) -> str:
        if not isinstance(blocks, dict):
            bad.append((pointer(_AT), f"an object is wanted, not {kind_of(blocks)}"))
            return ""
        out: list[str] = []
        for key, item in blocks.items():
            writer = self._passed.get(key, ABSENT)
            if writer is not ABSENT:
                writer(item, out.append, (_AT, key), bad)
            elif key in self._fixed:
                bad.append((pointer((_AT, key)), "it is set by the route"))
            else:
                words = ", ".join(self._passed)
                bad.append((pointer((_AT, key)), f"this route passes no such header block{words and f'; {words}'}"))
        return "".join(out)
