"""The two versions of the encoding: the names of their attributes, and how they write an array's size."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from bridge_soap.names import SOAP11, SOAP11_ENCODING, SOAP12, SOAP12_ENCODING, clark

_NUMBERS = re.compile(r"[0-9]+")
#: No array is as large as that; it keeps absurd sizes from being worked with at all.
_DIGITS = 9
_DIMENSIONS = 16


@dataclass(frozen=True, slots=True)
class Encoding:
    """:ivar style: what ``encodingStyle`` says, and the namespace of everything else.
    :ivar envelope: the namespace that ``encodingStyle`` stands in.
    :ivar id, ref: the attributes of a shared value, and of the places that refer to it.
    :ivar mark: what a reference begins with.
    """

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

#: Attributes that say how a message is encoded, and nothing of its values.
SILENT = frozenset(
    {clark(namespace, "encodingStyle") for namespace in (SOAP11, SOAP12)}
    | {clark(SOAP11_ENCODING, "root"), clark(SOAP12_ENCODING, "nodeType")}
)


def numbers(text: str) -> list[int] | None:
    """The numbers in a size, an offset or a position: ``[2,3]`` or ``2 3``; None where there are none, or absurd
    ones. The ``*`` of SOAP 1.2 is no number: that dimension is as long as what it holds."""
    numerals = _NUMBERS.findall(text)
    if not numerals or "*" in text or len(numerals) > _DIMENSIONS or any(len(number) > _DIGITS for number in numerals):
        return None
    return [int(number) for number in numerals]


def sizes(lengths: Sequence[int], encoding: Encoding) -> str:
    return ",".join(map(str, lengths)) if encoding.is_11 else " ".join(map(str, lengths))
