"""A value from the call in a header block: a header field or a claim, converted to the schema's type."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bridge.api import (
    Call,
    ClientError,
    Derived,
    InvalidParameter,
    Origin,
    call_values,
    claim_text,
    invalid_value,
    is_array,
    missing_value,
)
from bridge_soap.components import SimpleType
from bridge_soap.datatypes.facets import DatatypeError

REQUIRED = "it is required"  #: the reason for a missing value


@dataclass(frozen=True, slots=True)
class HiddenSource:
    """A secret and its place in a block.

    :ivar at: the place as a JSON pointer.
    :ivar value: the place's JSON value, and the texts that must not be shown.
    """

    origin: Origin
    at: str
    value: Derived[tuple[Any, frozenset[str]]]

    @property
    def rotates(self) -> bool:
        return self.value.secret.rotates

    @property
    def texts(self) -> set[str]:
        return {*self.value.secret.shown, *(text for _, texts in self.value.values for text in texts)}

    def holds(self, pointer: str) -> bool:
        return pointer == self.at or pointer.startswith(f"{self.at}/")


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
        untyped = self.simple is None
        values = call_values(self.origin, call, split=self.many, whole=untyped)
        if not values:
            return self.origin.default
        if not self.many and not untyped and is_array(self.origin, call):
            raise DatatypeError("a single value is wanted")
        if not self.many and len(values) > 1:
            raise DatatypeError("it is given twice")
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
            return missing_value(source.origin) if why == REQUIRED else invalid_value(source.origin, why)
    return InvalidParameter([(source.origin.name, why) for source, why in faults])


def same(text: str) -> Any:
    """For untyped places: text is unchanged."""
    return text


def anything(value: Any) -> None:
    """For untyped places: all JSON values are valid."""
