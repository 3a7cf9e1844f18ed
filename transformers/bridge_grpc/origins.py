"""Values that a call has for an origin of the spec (a header, a token's claim), and errors for its caller."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bridge.api import ABSENT, Call, ClientError, Forbidden, InvalidParameter, Origin, claim_of, header_texts


def call_values(origin: Origin, call: Call) -> list[Any]:
    """The JSON values that `call` has for a header or claim: one for each field, one for each item of a claim that is
    an array. A claim that is null has none."""
    if origin.kind == "header":
        return list(header_texts(call, origin.name.lower()))
    claim = claim_of(call.identity.claims, origin.name)
    if claim is ABSENT:
        return []
    return list(claim) if isinstance(claim, list) else [claim]


def missing(origin: Origin) -> ClientError:
    """For a call that has no value where there is no default: 403 for a claim, since it depends on who calls; 400 for a
    header."""
    if origin.kind == "claim":
        return Forbidden(f"Your token has no claim {origin.name}, which this operation needs.")
    return InvalidParameter([(origin.name, "this header is required")])


def refused(origin: Origin, why: str) -> ClientError:
    """For a value that can't be used."""
    if origin.kind == "claim":
        return Forbidden(f"Your token's claim {origin.name} is not what this operation takes: {why}.")
    return InvalidParameter([(origin.name, why)])


def caching(origins: Iterable[Origin], passed: Iterable[str] = (), *, private: bool = False) -> list[tuple[str, str]]:
    """Header fields of a reply that depends on headers or on who calls (RFC 9111).

    :param passed: further request headers that it depends on, in lower case.
    :param private: whether it depends on anything else.
    """
    origins = list(origins)
    names = dict.fromkeys((*(origin.name.lower() for origin in origins if origin.kind == "header"), *passed))
    fields = [("vary", ", ".join(names))] if names else []
    if private or any(origin.kind == "claim" for origin in origins):
        fields.append(("cache-control", "private"))
    return fields
