"""The header blocks of a request: those that the route sets, and those that the client gives under ``#headers``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bridge.api import ABSENT, Call
from bridge_soap.datatypes.simple_out import kind_of
from bridge_soap.encode.writing import At, Faults, Writer, pointer
from bridge_soap.message.block import Block

#: The property of a body's object that holds header blocks.
HEADERS = "#headers"
_AT: At = (None, HEADERS)


class RequestBlocks:
    """What differs from call to call in ``soap:Header``.

    :param blocks: those of the route's blocks that aren't constant.
    :param passed: writers of the blocks that a client may give, by the property in ``#headers``.
    :param fixed: properties in ``#headers`` of declared blocks that the route sets itself.
    :ivar fields: what a reply must tell caches: the answer may depend on a header or on who asks.
    """

    def __init__(self, blocks: Sequence[Block], passed: Mapping[str, Writer], fixed: frozenset[str]) -> None:
        self._blocks, self._passed, self._fixed = blocks, passed, fixed
        origins = [supply.origin for block in blocks for supply in block.supplies]
        names = dict.fromkeys(origin.name.lower() for origin in origins if origin.kind == "header")
        self.fields: list[tuple[str, str]] = [("vary", ", ".join(names))] if names else []
        if any(origin.kind == "claim" for origin in origins):
            self.fields.append(("cache-control", "private"))

    def write(self, call: Call, value: Any, bad: Faults) -> tuple[Any, str]:
        """The body without its ``#headers``, and the blocks as XML. Faults of the client's blocks go to `bad`.

        :raises bridge.api.ClientError: a header or claim that the route's blocks need is missing or wrong.
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
