"""Where the credentials of a kind may stand (``auth.from``), in words and in OpenAPI documents."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from bridge.api.authenticator import Security
from bridge.api.spec import auth as spec
from bridge.errors import BindError, Fault
from bridge.observe.masking import is_secret


def checked(sources: Sequence[spec.Source]) -> Sequence[spec.Source]:
    """:raises BindError: a query parameter has a name by which the access log would not mask it."""
    for at, source in enumerate(sources):
        if isinstance(source, spec.QuerySource) and not is_secret(source.query):
            reason = f"the access log masks what sounds like a secret, and {source.query!r} does not; "
            raise BindError(Fault(f"{reason}call it token, access_token or api_key", ("auth", "from", at)))
    return sources


def listed(header: str, sources: Sequence[spec.Source]) -> str:
    names = [
        f"the cookie {one.cookie}"
        if isinstance(one, spec.CookieSource)
        else f"the query parameter {one.query}"
        if isinstance(one, spec.QuerySource)
        else header
        for one in sources
    ]
    return " or ".join([*([", ".join(names[:-1])] if names[:-1] else []), names[-1]])


def security_of(name: str, scheme: Mapping[str, Any], sources: Sequence[spec.Source], needs: Sequence[str]) -> Security:
    """:param scheme: of the header; a client chooses one of `sources`. :param needs: roles and scopes."""
    schemes: dict[str, Mapping[str, Any]] = {}
    for one in sources:
        if isinstance(one, str):
            schemes[name] = scheme
            continue
        place, parameter = ("cookie", one.cookie) if isinstance(one, spec.CookieSource) else ("query", one.query)
        key = re.sub(r"[^A-Za-z0-9._-]", "_", f"{name}_{place}_{parameter}")
        schemes[key] = {"type": "apiKey", "in": place, "name": parameter, "description": scheme["description"]}
    return Security(schemes, tuple({key: list(needs)} for key in schemes))
