"""Which kinds of JWT are access tokens. Issuers sign others with the same keys, and none of those may open a route:
cross-JWT confusion (RFC 8725, sections 2.8 and 3.11; RFC 9068, sections 4 and 5).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

ABSENT = "absent"  #: stands for a token without ``typ``
#: Accepted unless an issuer's entry says otherwise. Tokens of RFC 9068 have ``at+jwt``, those of most issuers ``JWT``.
DEFAULT_TYPES = frozenset({ABSENT, "jwt", "at+jwt"})
#: Never access tokens: OpenID Connect Back-Channel Logout, RFC 8417, RFC 9449, RFC 9701, RFC 9101, and drafts.
OTHER_TYPES = frozenset(
    {
        "logout+jwt", "secevent+jwt", "dpop+jwt", "token-introspection+jwt", "oauth-authz-req+jwt",
        "client-authentication+jwt", "entity-statement+jwt", "kb+jwt", "openid4vci-proof+jwt", "statuslist+jwt",
    }
)  # fmt: skip

#: Keycloak names the kind in a claim ``typ``.
_OTHER_CLAIMED = frozenset({"ID", "Refresh", "Offline", "Logout"})
_ACCESS_CLAIMED = frozenset({"Bearer", "DPoP"})
_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,127}")


class OtherKind(ValueError):
    """A token is no access token; the message is a sentence for its owner, in ASCII without quotes."""


def read_types(names: Iterable[str]) -> frozenset[str]:
    """Accepted values of ``typ`` as an issuer's entry lists them.

    :raises ValueError: one is no media type, or never one of an access token.
    """
    types = frozenset(map(_normal, names))
    if not types:
        raise ValueError("it lists no type, so no token would be accepted")
    for name in sorted(types):
        if not _TYPE.fullmatch(name):
            raise ValueError(f"{name!r} is no type of a token, such as at+jwt or JWT, or {ABSENT}")
        if name in OTHER_TYPES:
            raise ValueError(f"tokens of the type {name} are never access tokens")
    return types


def check_kind(header: Mapping[str, Any], claims: Mapping[str, Any], accepted: frozenset[str]) -> None:
    """:raises OtherKind: it is no access token of an issuer that has the types `accepted`."""
    named = header.get("typ", ABSENT)
    if not isinstance(named, str) or ("typ" in header and named == ABSENT):
        raise OtherKind("The token is malformed: its type (typ) is none.")
    kind = _normal(named)
    if kind in OTHER_TYPES or kind not in accepted:
        raise OtherKind("The token is of a type (typ) that its issuer does not give access tokens.")
    content = header.get("cty")
    if content is not None and (not isinstance(content, str) or _normal(content) == "jwt"):
        raise OtherKind("The token holds another token (cty), which is not accepted.")
    claimed = claims.get("typ")
    if isinstance(claimed, str) and claimed in _OTHER_CLAIMED:
        raise OtherKind("The token is no access token; send the one that its issuer made for this.")
    if "events" in claims:  # RFC 8417, section 2.2: a security event, as a logout token is
        raise OtherKind("The token tells of events; it is no access token.")
    # OpenID Connect Core, sections 2, 3.1.3.6 and 3.3.2.11. What says that it is an access token may have a nonce.
    says_access = kind == "at+jwt" or (isinstance(claimed, str) and claimed in _ACCESS_CLAIMED)
    if not says_access and not {"nonce", "at_hash", "c_hash"}.isdisjoint(claims):
        raise OtherKind("The token is an ID token; send the access token.")


def _normal(name: str) -> str:
    """RFC 7515, section 4.1.9: a media type, whose ``application/`` may be left out; in any case (RFC 2045, 5.1)."""
    return name.lower().removeprefix("application/")
