"""Which of several media types a request prefers (RFC 9110, section 12.5.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def preferred(accept: str, offers: Mapping[str, T]) -> T | None:
    """What `accept`, the field's value, prefers.

    :param offers: media type -> what is offered, the default first.
    :returns: None where `accept` rules all of them out. Of equal qualities the type that is named more exactly wins,
        then the order of `offers`.
    """
    ranges = dict(sorted((_range(part) for part in accept.split(",") if part.strip()), key=lambda each: each[1]))
    best, choice = (0.0, 0), None
    for media_type, offer in offers.items():
        names = ("*/*", f"{media_type.partition('/')[0]}/*", media_type)
        exactness, name = max(((rank, name) for rank, name in enumerate(names) if name in ranges), default=(0, "*/*"))
        quality = ranges.get(name, 0.0 if ranges else 1.0)
        if quality > 0 and (quality, exactness) > best:
            best, choice = (quality, exactness), offer
    return choice


def _range(part: str) -> tuple[str, float]:
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    quality = 1.0
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                quality = min(1.0, max(0.0, float(value)))
            except ValueError:
                quality = 0.0
    return name, quality
