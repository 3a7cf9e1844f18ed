"""What a caller needs: a spec's ``auth`` as data that a client can read, and as a sentence.

OpenAPI's security requirements name the scheme, roles and scopes, but have no place for an audience or an issuer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bridge.api.spec.auth import AnyAuth, Auth, MethodNeeds, OneAuth, Source
from bridge.api.spec.route import RouteSpec
from bridge.api.spec.upstream_tokens import TokenExchangeUpstreamAuth
from bridge.http.methods import SAFE
from bridge.http.origin import ANY
from bridge.stages.auth.presented import credential_places

#: Marks a name in a text.
Mark = Callable[[str], str]

_NEEDS = frozenset(("roles", "method_roles", "scopes"))

_TEXTS: Mapping[str, str] = {
    "none": "no credentials",
    "JWT": "a bearer token (JWT)",
    "api_key": "an API key",
    "oauth2": "a bearer token (OAuth 2.0)",
    "mtls": "a client certificate",
}

#: The keys to which tokens must be bound.
_PROOFS: Mapping[str, str] = {
    "": "",
    "certificate": " that is bound to the client's certificate",
    "dpop": " that is bound to a key (DPoP)",
    "any": " that is bound to the client's certificate or to a key (DPoP)",
}


def access_of(auth: Auth, method: str = "", *, names: bool = False) -> list[dict[str, Any]]:
    """The kinds of credentials of which one is enough: ``type``, and as the spec has them ``header``, ``from`` (absent:
    the header alone), ``proof``, ``issuer``, ``audiences`` (one is enough), ``roles`` (one is enough) and ``scopes``
    (all are needed).

    :param names: whether to name the certificates that are taken (``ca``, ``subjects``, ``sans``). That is for the
        operator: it would tell everybody who calls.
    :param method: of the call. Where its roles are asked for beside those of the route, they are ``method_roles``.
    """
    access = [_one(kind, method) for kind in _kinds(auth)]
    if not names:
        for kind in access:
            for member in ("ca", "subjects", "sans"):
                kind.pop(member, None)
    return access


def methods_with_needs(auth: Auth) -> Sequence[str]:
    """The methods whose calls need roles or scopes of their own."""
    return sorted({method for kind in _kinds(auth) for method in getattr(kind, "methods", ())})


def _kinds(auth: Auth) -> Sequence[OneAuth]:
    return auth.any if isinstance(auth, AnyAuth) else (auth,)


def judges_callers(spec: RouteSpec, method: str) -> bool:
    """Whether some callers may be refused whatever their credentials: a role or scope is needed, a certificate's name
    or a claim counts, their token is exchanged, their address counts, or for some methods the page that they are on."""
    access = access_of(spec.auth, method)
    if spec.ip is not None or any(_NEEDS & kind.keys() or kind["type"] == "mtls" for kind in access):
        return True
    if isinstance(spec.upstream_auth, TokenExchangeUpstreamAuth):
        return True
    if method not in SAFE:
        cors = spec.cors is not None and spec.cors.origins != ANY
        if cors or any(place.cookies for place in credential_places(spec.auth)):
            return True
    return _has_claim(spec.model_dump(exclude_unset=True))


def _has_claim(value: Any) -> bool:
    """Whether `value` holds a value of the form ``{$claim: NAME}``."""
    if isinstance(value, dict):
        return "$claim" in value or any(map(_has_claim, value.values()))
    return isinstance(value, list | tuple) and any(map(_has_claim, value))


def _one(auth: OneAuth, method: str) -> dict[str, Any]:
    audience: str | Sequence[str] = getattr(auth, "audience", ())
    sources: Sequence[Source] = getattr(auth, "sources", ())
    if all(one == "header" for one in sources):
        sources = ()
    methods: Mapping[Any, MethodNeeds] = getattr(auth, "methods", {})
    own = methods.get("GET" if method == "HEAD" else method)
    roles, more = list(getattr(auth, "roles", ())), list(own.roles) if own else []
    members = {
        "header": getattr(auth, "header", ""),
        "from": [one if isinstance(one, str) else one.model_dump() for one in sources],
        "proof": getattr(auth, "proof", None),
        "issuer": getattr(auth, "issuer", ""),
        "ca": getattr(auth, "ca", ""),
        "subjects": list(getattr(auth, "subjects", ())),
        "sans": list(getattr(auth, "sans", ())),
        "audiences": [name for name in ([audience] if isinstance(audience, str) else audience) if name],
        "roles": roles or more,
        "method_roles": more if roles and more != roles else [],
        "scopes": list(dict.fromkeys((*getattr(auth, "scopes", ()), *(own.scopes if own else ())))),
    }
    return {"type": auth.type} | {name: value for name, value in members.items() if value}


def access_text(access: Sequence[Mapping[str, Any]]) -> str:
    """`access` as one sentence in CommonMark; "" where no credentials are asked for."""
    if all(kind["type"] == "none" for kind in access):
        return ""
    return f"**Access:** {', or '.join([_kind_text(kind, _code) for kind in access])}."


def access_words(access: Sequence[Mapping[str, Any]]) -> str:
    """`access` as the end of a plain sentence: what callers need."""
    return ", or ".join([_kind_text(kind, _plain) for kind in access])


def _kind_text(kind: Mapping[str, Any], code: Mark) -> str:
    name: str = kind["type"]
    text = _TEXTS.get(name, name) + _PROOFS[kind.get("proof", "")]
    header = code(kind["header"]) if "header" in kind else "the Authorization header"
    if places := kind.get("from") or (["header"] if "header" in kind else []):
        text += f" in {_joined([_place_text(place, header, code) for place in places], 'or')}"
    if "issuer" in kind:
        text += f" from {code(kind['issuer'])}"
    if "ca" in kind:
        text += f" of the authority {code(kind['ca'])}"
    if "subjects" in kind:
        text += f" of the subject {_list(kind['subjects'], 'or', code)}"
    if "sans" in kind:
        text += f" for the name {_list(kind['sans'], 'or', code)}"
    if "audiences" in kind:
        text += f" for the audience {_list(kind['audiences'], 'or', code)}"
    needs = []
    if "roles" in kind:
        needs.append(f"the role {_list(kind['roles'], 'or', code)}")
    if "method_roles" in kind:
        needs.append(f"the role {_list(kind['method_roles'], 'or', code)}")
    if "scopes" in kind:
        needs.append(f"the {'scope' if len(kind['scopes']) == 1 else 'scopes'} {_list(kind['scopes'], 'and', code)}")
    return f"{text} with {' and '.join(needs)}" if needs else text


def _place_text(place: str | Mapping[str, str], header: str, code: Mark) -> str:
    if isinstance(place, str):
        return header
    [(kind, name)] = place.items()
    return f"the {'cookie' if kind == 'cookie' else 'query parameter'} {code(name)}"


def _list(names: Sequence[str], word: str, code: Mark) -> str:
    return _joined([code(name) for name in names], word)


def _joined(texts: Sequence[str], word: str) -> str:
    *others, last = texts
    return f"{', '.join(others)} {word} {last}" if others else last


def _plain(text: str) -> str:
    return " ".join(text.split())


def _code(text: str) -> str:
    """A code span (CommonMark 0.31, section 6.1): nothing in `text` is taken for markup."""
    line = " ".join(text.split())
    if "`" not in line:
        return f"`{line}`"
    fence = "`" * (1 + line.count("`"))
    return f"{fence} {line} {fence}"
