"""The two versions of the encoding: their attribute names, and how they write an array's size."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from bridge_soap.names import SOAP11, SOAP11_ENCODING, SOAP12, SOAP12_ENCODING, clark

_NUMBERS = re.compile(r"[0-9]+")
#: The limits on sizes; no real array is larger.
_DIGITS = 9
_DIMENSIONS = 16


@dataclass(frozen=True, slots=True)
class Encoding:
    """:ivar style: the value of ``encodingStyle``, and the namespace of all other names.
    :ivar envelope: the namespace of the attribute ``encodingStyle``.
    :ivar id, ref: the attributes of a shared value, and of the references to it.
    :ivar mark: the prefix of a reference."""

    style: str
    envelope: str
    id: str
    ref: str
    mark: str

    @property
    def array(self) -> str:
        return clark(self.style, "Array")

    @property
    def is_11(self) -> bool:
        return self.style == SOAP11_ENCODING


#: SOAP 1.1, section 5.4.1; SOAP 1.2 part 2, section 3.1.5.
ENCODING_11 = Encoding(SOAP11_ENCODING, SOAP11, "id", "href", "#")
ENCODING_12 = Encoding(SOAP12_ENCODING, SOAP12, clark(SOAP12_ENCODING, "id"), clark(SOAP12_ENCODING, "ref"), "")
ENCODINGS = (ENCODING_11, ENCODING_12)

#: Attributes that describe the encoding, not values.
SILENT = frozenset(
    {clark(namespace, "encodingStyle") for namespace in (SOAP11, SOAP12)}
    | {clark(SOAP11_ENCODING, "root"), clark(SOAP12_ENCODING, "nodeType")}
)


def numbers(text: str) -> list[int] | None:
    """The numbers in a size, an offset or a position: ``[2,3]`` or ``2 3``; None if there are none, or absurd ones. The
    ``*`` of SOAP 1.2 is not a number: that dimension has as many items as the message."""
    numerals = _NUMBERS.findall(text)
    if not numerals or "*" in text or len(numerals) > _DIMENSIONS or any(len(number) > _DIGITS for number in numerals):
        return None
    return [int(number) for number in numerals]


def sizes(lengths: Sequence[int], encoding: Encoding) -> str:
    return ",".join(map(str, lengths)) if encoding.is_11 else " ".join(map(str, lengths))
