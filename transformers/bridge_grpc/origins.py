"""What a call brings for an origin of the spec: a header's fields, a token's claim; and what its caller is told."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bridge.api import ABSENT, Call, ClientError, Forbidden, InvalidParameter, Origin, claim_of, header_texts


def brought(origin: Origin, call: Call) -> list[Any]:
    """The JSON values that `call` brings for a header or claim: one for each field, one for each item of a claim that
    is an array. Empty where it brings none; a claim that is null is none."""
    if origin.kind == "header":
        return list(header_texts(call, origin.name.lower()))
    claim = claim_of(call.identity.claims, origin.name)
    if claim is ABSENT:
        return []
    return list(claim) if isinstance(claim, list) else [claim]


def missing(origin: Origin) -> ClientError:
    """What is said where a call brings nothing and there is no default: a claim is a matter of who calls (403), a
    header of what was said (400)."""
    if origin.kind == "claim":
        return Forbidden(f"Your token has no claim {origin.name}, which this operation needs.")
    return InvalidParameter([(origin.name, "this header is required")])


def refused(origin: Origin, why: str) -> ClientError:
    """What is said where what a call brings can't be used."""
    if origin.kind == "claim":
        return Forbidden(f"Your token's claim {origin.name} is not what this operation takes: {why}.")
    return InvalidParameter([(origin.name, why)])


def caching(origins: Iterable[Origin], passed: Iterable[str] = (), *, private: bool = False) -> list[tuple[str, str]]:
    """What a reply must tell caches (RFC 9111): the answer may depend on headers, or on who asks.

    :param passed: further request headers that it may depend on, in lower case.
    :param private: whether it depends on what can't be named.
    """
    kinds = list(origins)
    names = dict.fromkeys((*(origin.name.lower() for origin in kinds if origin.kind == "header"), *passed))
    fields = [("vary", ", ".join(names))] if names else []
    if private or any(origin.kind == "claim" for origin in kinds):
        fields.append(("cache-control", "private"))
    return fields
