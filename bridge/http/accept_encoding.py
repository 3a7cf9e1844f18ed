"""Which content-coding a client prefers: ``Accept-Encoding`` (RFC 9110, section 12.5.3)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

#: weight = OWS ";" OWS "q=" qvalue (section 12.4.2).
_ITEM = re.compile(r"([!#$%&'*+\-.^_`|~0-9a-z]+)[ \t]*(?:;[ \t]*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*)?")
_IDENTITY = "identity"


class Choice(NamedTuple):
    """:ivar coding: the coding to use; ``""`` for none.
    :ivar refuses_identity: the client takes no reply without a coding.
    """

    coding: str
    refuses_identity: bool


def qualities(value: str) -> Mapping[str, float]:
    """The weights of a field's value by coding, in lower case; ``x-gzip`` is ``gzip`` (section 8.4.1.3).

    The last of several weights for one coding counts. A malformed member is not acceptable: its weight is 0.
    """
    weights: dict[str, float] = {}
    for part in value.lower().split(","):
        member = part.strip(" \t")
        if not member:
            continue
        match = _ITEM.fullmatch(member)
        if match is None:
            weights[member.partition(";")[0].strip(" \t")] = 0.0
            continue
        name = "gzip" if match[1] == "x-gzip" else match[1]
        weights[name] = float(match[2]) if match[2] else 1.0
    return weights


def choose(value: str, offers: Sequence[str]) -> Choice:
    """What a client with this value of ``Accept-Encoding`` gets; without the field the value is ``""``.

    It is the acceptable offer with the highest weight; of several, the first. Of the codings that are not named, ``*``
    stands for ``gzip`` alone, which nearly every client reads. No coding is used where none is acceptable, or where
    ``identity`` is named with a higher weight.

    :param offers: codings, the preferred one first.
    """
    weights = qualities(value)
    rest = weights.get("*", 0.0)
    best, coding = 0.0, ""
    for offer in offers:
        weight = weights.get(offer, rest if offer == "gzip" else 0.0)
        if weight > best:
            best, coding = weight, offer
    identity = weights.get(_IDENTITY)
    if identity is not None and identity > best:
        coding = ""
    refused = identity == 0 or (identity is None and weights.get("*") == 0)
    return Choice(coding, refused)
