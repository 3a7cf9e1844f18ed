"""A value from the call in a header block: a header field or a claim, converted to the schema's type."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bridge.api import (
    ABSENT,
    Call,
    ClientError,
    Forbidden,
    InvalidParameter,
    Origin,
    claim_of,
    claim_text,
    header_texts,
)
from bridge_soap.components import SimpleType
from bridge_soap.datatypes.facets import DatatypeError


@dataclass(frozen=True, slots=True)
class ValueSource:
    """An origin and its place in a block.

    :ivar at: the place as a JSON pointer.
    :ivar many: the place is an array.
    :ivar text: converts text to the place's JSON value.
    :ivar fits: raises `DatatypeError` if a JSON value (a claim) is not valid there.
    :ivar simple: the type of one value there; None if it is untyped.
    """

    origin: Origin
    at: str
    many: bool
    text: Callable[[str], Any]
    fits: Callable[[Any], object]
    simple: SimpleType | None

    def value(self, call: Call) -> Any:
        """The JSON value in a call; ABSENT if there is neither a value nor a default.

        :raises DatatypeError: it is not valid for the place's type.
        """
        if self.origin.kind == "header":
            values: list[Any] = header_texts(call, self.origin.name.lower())
            if self.many:  # RFC 9110, section 5.6.1
                values = [item for each in values for item in map(str.strip, each.split(",")) if item]
            elif len(values) > 1:
                raise DatatypeError("it is given twice")
        else:
            claim = claim_of(call.identity.claims, self.origin.name)
            values = [] if claim is ABSENT else claim if self.many and isinstance(claim, list) else [claim]
            if claim == [] and self.many:
                return []
        if not values:
            return self.origin.default
        results = [self._one(each) for each in values]
        return results if self.many else results[0]

    def _one(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        try:
            self.fits(value)
        except DatatypeError:
            pass
        else:
            return value
        try:
            text = claim_text(value)
        except ValueError as error:
            raise DatatypeError(str(error)) from None
        return self.text(text)

    def holds(self, pointer: str) -> bool:
        return pointer == self.at or pointer.startswith(f"{self.at}/")


def refusal(faults: list[tuple[ValueSource, str]]) -> ClientError:
    """The error for the caller: 403 for a claim, 400 for a header field."""
    for source, why in faults:
        if source.origin.kind == "claim":
            if why == "it is required":
                return Forbidden(f"Your token has no claim {source.origin.name}, which this operation needs.")
            return Forbidden(f"Your token's claim {source.origin.name} is not what this operation takes: {why}.")
    return InvalidParameter([(source.origin.name, why) for source, why in faults])


def same(text: str) -> Any:
    """For untyped places: text is unchanged."""
    return text


def anything(value: Any) -> None:
    """For untyped places: all JSON values are valid."""
