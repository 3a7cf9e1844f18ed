"""Secrets that a service repeats in what it says of a failure.

Faults, statuses and error pages of services go into problems and logs, and some quote the request, with the credentials
that the gateway has added to it.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

from bridge.api.call import Call
from bridge.api.capabilities import Secretive, capability
from bridge.api.egress import Egress
from bridge.api.exchange import Exchange
from bridge.egress.sending import SentOperation
from bridge.errors import RequestError, UpstreamError
from bridge.observe.masking import MASK

SHORTEST = 4  #: characters; a shorter secret is no more than a word of the language


def conceal(error: Exception, operation: SentOperation, exchange: Exchange) -> None:
    """Mask the secrets of a call in the texts of `error`, if that may quote the service, and in the call's warnings."""
    if not isinstance(error, UpstreamError):
        return
    texts = _secrets(operation, exchange.call)
    if not texts:
        return
    pattern = re.compile("|".join(map(re.escape, sorted(texts, key=len, reverse=True))))
    found = False

    def masked(text: str) -> str:
        nonlocal found
        text, count = pattern.subn(MASK, text)
        found = found or count > 0
        return text

    error.detail, error.cause = masked(error.detail), masked(error.cause)
    error.members = {name: _walked(value, masked) for name, value in error.members.items()}
    error.headers = tuple((name, masked(value)) for name, value in error.headers)
    exchange.call.warnings = [masked(text) for text in exchange.call.warnings]
    if found:
        exchange.problem = None  # which was made of the error as it was


def route_secrets(codec: Any, egress: Egress | None) -> frozenset[str]:
    """The secrets that the route itself sends, as their files have them now."""
    secretive = capability(codec, Secretive)
    return frozenset((*(secretive.secrets if secretive else ()), *(egress.secrets if egress else ())))


def _secrets(operation: SentOperation, call: Call) -> set[str]:
    """What was sent and must not be shown, in the forms in which it is written down."""
    texts = {*call.credentials, *route_secrets(operation.codec, operation.egress)}
    if operation.egress is not None:
        with contextlib.suppress(RequestError):  # a file that was rotated meanwhile
            texts.update(operation.egress.sent(call))
    return {form for text in texts for form in _forms(text) if len(form) >= SHORTEST}


def _forms(text: str) -> Iterable[str]:
    scheme, _, rest = text.partition(" ")
    plain = (text, rest) if rest and scheme.isalpha() else (text,)  # RFC 9110, section 11.4: scheme and credentials
    for each in plain:
        yield from (each, quote(each, safe=""), quote(each), quote_plus(each), repr(each)[1:-1])


def _walked(value: Any, masked: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, Mapping):
        return {masked(name): _walked(each, masked) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_walked(each, masked) for each in value]
    return value
