"""Values that a call has for an origin of the spec (a header, a token's claim), and errors for its caller."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bridge.api import ABSENT, Call, ClientError, Forbidden, InvalidParameter, Origin, claim_of, header_texts


def call_values(origin: Origin, call: Call) -> list[Any]:
    """The JSON values that `call` has for a header or claim: one for each field, or for each item of a claim that is an
    array. A claim that is null has no value."""
    if origin.kind == "header":
        return list(header_texts(call, origin.name.lower()))
    claim = claim_of(call.identity.claims, origin.name)
    if claim is ABSENT:
        return []
    return list(claim) if isinstance(claim, list) else [claim]


def missing_value(origin: Origin) -> ClientError:
    """The error for a missing value without a default: 403 for a claim, since it depends on the caller; 400 for a
    header."""
    if origin.kind == "claim":
        return Forbidden(f"Your token has no claim {origin.name}, which this operation needs.")
    return InvalidParameter([(origin.name, "this header is required")])


def invalid_value(origin: Origin, reason: str) -> ClientError:
    """The error for a value that can't be used."""
    if origin.kind == "claim":
        return Forbidden(f"Your token's claim {origin.name} is not what this operation takes: {reason}.")
    return InvalidParameter([(origin.name, reason)])


def caching(origins: Iterable[Origin], headers: Iterable[str] = (), *, private: bool = False) -> list[tuple[str, str]]:
    """Header fields of a reply that depends on request headers or on the caller (RFC 9111).

    :param headers: further request headers that it depends on, in lower case.
    :param private: whether it depends on anything else.
    """
    origins = list(origins)
    names = dict.fromkeys((*(origin.name.lower() for origin in origins if origin.kind == "header"), *headers))
    fields = [("vary", ", ".join(names))] if names else []
    if private or any(origin.kind == "claim" for origin in origins):
        fields.append(("cache-control", "private"))
    return fields
