"""Bearer tokens: JSON Web Tokens (RFC 7519) verified by RFC 8725's rules, responses by RFC 6750.

A token is verified in two steps. The first is the same for every route: its form, its issuer, its signature. It costs
some 100 µs and is cached by the token's text. The second depends on the route: times, audience, roles, scopes. It is
done for every call.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, NoReturn

import jwt

from bridge.api.call import Identity
from bridge.errors import IssuerUnavailable, Unauthorized
from bridge.stages.auth.jwks import CALL_WAIT, KeySource, unavailable
from bridge.stages.auth.jws import BadToken, open_token
from bridge.stages.auth.token_types import DEFAULT_TYPES, OtherKind, check_kind

REALM = "hms-bridge"
LEEWAY = 10.0  #: seconds that an issuer's clock and ours may be apart, unless its entry says otherwise
REMEMBERED = 4096  #: tokens whose signature is cached as valid

_jws = jwt.PyJWS(options={"enforce_minimum_key_length": True})


@dataclass(frozen=True, slots=True, eq=False)
class TrustedIssuer:
    """The data of an issuer that verification needs.

    :ivar token_types: accepted values of ``typ`` (`bridge.stages.auth.token_types`).
    :ivar leeway: seconds that its clock and ours may be apart.
    :ivar tenant: of all its tokens; ``""``: each token says it itself.
    :ivar unknown_key: the answer to a token that is signed with none of `keys`.
    """

    name: str
    algorithms: frozenset[str]
    keys: KeySource
    roles_claim: str = "roles"
    tenant_claim: str = "tenant"
    token_types: frozenset[str] = DEFAULT_TYPES
    leeway: float = LEEWAY
    tenant: str = ""
    unknown_key: str = "The token is signed with a key that its issuer does not publish."


@dataclass(frozen=True, slots=True, eq=False)
class Verified:
    """A token that is known to be its issuer's, parsed once: times in Unix seconds, and its identity.

    `inside` is the same identity with `Identity.internal` set, for callers from an internal network.
    """

    issuer: TrustedIssuer
    version: int
    expires: float
    not_before: float
    audiences: frozenset[str]
    identity: Identity
    inside: Identity


def refuse(reason: str, error: str = "invalid_token") -> NoReturn:
    """401 with the challenge of RFC 6750, section 3. `reason` is a sentence in ASCII without quotes."""
    challenge = f'Bearer realm="{REALM}", error="{error}", error_description="{reason.rstrip(".")}"'
    raise Unauthorized(reason, headers=[("www-authenticate", challenge)])


class TokenVerifier:
    """The step of verification that all routes share, with its cache.

    :param issuers: by their ``iss``.
    :param clock: Unix seconds.
    """

    def __init__(self, issuers: dict[str, TrustedIssuer], clock: Callable[[], float] = time.time) -> None:
        self.issuers = issuers
        self.clock = clock
        self._known: OrderedDict[str, Verified] = OrderedDict()

    def forget(self) -> None:
        """Verify every token anew, since `issuers` has changed."""
        self._known.clear()

    def known(self, token: str) -> Verified | None:
        """The cached result of `verify`; None if there is none.

        :raises Unauthorized: the token has expired, or is not valid yet.
        """
        verified = self._known.get(token)
        if verified is None or not verified.issuer.keys.fresh() or verified.version != verified.issuer.keys.version:
            return None
        self._known.move_to_end(token)
        self._in_time(token, verified)
        return verified

    async def verify(self, token: str) -> Verified:
        """The token, after its signature and times are verified.

        :raises Unauthorized: it isn't valid; `detail` has a reason that helps its owner and no attacker.
        :raises IssuerUnavailable: its issuer's keys can't be fetched at the moment.
        """
        verified = self._known.get(token)
        if verified is not None:
            keys = verified.issuer.keys
            if not keys.fresh():
                await keys.renew()
            if verified.version == keys.version and self._known.get(token) is verified:
                self._known.move_to_end(token)
            else:
                verified = None
        if verified is None:
            verified = self._known[token] = await self._judge(token)
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        self._in_time(token, verified)
        return verified

    def _in_time(self, token: str, verified: Verified) -> None:
        """As `check_times`; a token that has expired is forgotten."""
        now = self.clock()
        leeway = verified.issuer.leeway
        if not verified.not_before - leeway <= now < verified.expires + leeway:
            self._known.pop(token, None)
            check_times(verified, now)

    async def _judge(self, token: str) -> Verified:
        try:
            header, claims = open_token(token)
        except BadToken as error:
            refuse(str(error))
        name = claims.get("iss")
        if not isinstance(name, str) or not name:
            refuse("The token names no issuer (iss).")
        while True:
            # Not yet verified: it only selects the keys to try.
            issuer = self.issuers.get(name)
            if issuer is None:
                refuse("The token comes from an issuer that is not trusted here.")
            try:
                async with asyncio.timeout(CALL_WAIT):
                    verified = await self._judge_by(issuer, token, header, claims)
            except TimeoutError:
                if self.issuers.get(name) is issuer:
                    raise unavailable(f"{name} is slow") from None
            except (IssuerUnavailable, Unauthorized):
                if self.issuers.get(name) is issuer:
                    raise
            else:
                if self.issuers.get(name) is issuer:
                    return verified
            # The issuer was changed or removed while its keys were fetched: what is trusted now decides.

    async def _judge_by(
        self, issuer: TrustedIssuer, token: str, header: Mapping[str, Any], claims: Mapping[str, Any]
    ) -> Verified:
        algorithm, kid = header.get("alg"), header.get("kid", "")
        if not isinstance(algorithm, str) or algorithm not in issuer.algorithms:
            refuse("The token is signed with an algorithm that is not accepted from its issuer.")
        if not isinstance(kid, str):
            refuse("The token is malformed.")
        try:
            check_kind(header, claims, issuer.token_types)
        except OtherKind as error:
            refuse(str(error))
        if any(_signed(token, key.material, algorithm) for key in issuer.keys.withdrawn(kid, algorithm)):
            # So nobody has invented it, and whoever has it is told at once that another one is needed.
            issuer.keys.check_withdrawal()
            refuse("The signature of the token is of a key that its issuer has withdrawn.")
        signed = await _verified(token, issuer, kid, algorithm)
        if not signed and await issuer.keys.recheck():
            signed = await _verified(token, issuer, kid, algorithm)
        if not signed:
            refuse("The signature of the token is not valid.")
        return read_claims(claims, issuer, self.clock(), version=issuer.keys.version)


def check_times(verified: Verified, now: float) -> None:
    """:raises Unauthorized: the token has expired, or is not valid yet."""
    if now >= verified.expires + verified.issuer.leeway:
        refuse("The token has expired.")
    if now < verified.not_before - verified.issuer.leeway:
        refuse("The token is not valid yet.")


async def _verified(token: str, issuer: TrustedIssuer, kid: str, algorithm: str) -> bool:
    """Whether one of the issuer's current keys verifies the signature."""
    candidates = await issuer.keys.find(kid, algorithm)
    if not candidates:
        refuse(issuer.unknown_key)
    return any(_signed(token, key.material, algorithm) for key in candidates)


def _signed(token: str, material: Any, algorithm: str) -> bool:
    try:
        _jws.decode_complete(token, key=material, algorithms=[algorithm])
    except (jwt.PyJWTError, ValueError, TypeError):
        # A key that doesn't match counts as a wrong signature; the response does not reveal which of them it was.
        return False
    return True


def read_claims(
    claims: Mapping[str, Any],
    issuer: TrustedIssuer,
    now: float,
    *,
    version: int = 0,
    subjects: Sequence[str] = ("sub", "client_id", "azp"),
    lasting: bool = False,
) -> Verified:
    """What a token's claims say, whoever vouches for them: a signature, or the issuer's answer about the token.

    :param now: Unix seconds.
    :param version: of the issuer's keys.
    :param subjects: the claims of which the first that there is names the caller.
    :param lasting: whether a token without ``exp`` is accepted.
    :raises Unauthorized: they can't be used.
    """
    expires = _time(claims, "exp")
    if expires is None and not lasting:
        refuse("The token has no expiry (exp); tokens without one are not accepted.")
    issued = _time(claims, "iat")
    if issued is not None and issued > now + issuer.leeway:
        refuse("The token says it was issued in the future (iat).")
    subject = next((claims[name] for name in subjects if claims.get(name)), "")
    audience = claims.get("aud", [])
    audiences = [audience] if isinstance(audience, str) else audience
    if not isinstance(subject, str) or not isinstance(audiences, list):
        refuse("The token is malformed.")
    tenant = _claim(claims, issuer.tenant_claim)
    if tenant is not None and not (isinstance(tenant, str) and tenant.strip()):
        # A caller without a tenant may do more than one of a tenant, so a malformed claim must not count as none.
        refuse(f"The token is malformed: the claim {issuer.tenant_claim} is not a tenant's name.")
    if issuer.tenant and tenant not in (None, issuer.tenant):
        refuse(f"The token names a tenant for which its issuer does not speak (the claim {issuer.tenant_claim}).")
    roles = _words(_claim(claims, issuer.roles_claim))
    fields: dict[str, Any] = {
        "subject": subject,
        "tenant": issuer.tenant or tenant or "",
        "roles": roles,
        "scopes": _words(claims.get("scope")) | _words(claims.get("scp")),
        "claims": claims,
        # Two issuers may use one subject for two persons.
        "key": f"sub:{issuer.name}|{subject}" if subject else "",
    }
    return Verified(
        issuer=issuer,
        version=version,
        expires=inf if expires is None else expires,
        not_before=_time(claims, "nbf") or 0.0,
        audiences=frozenset(item for item in audiences if isinstance(item, str)),
        identity=Identity(**fields, internal="internal" in roles),
        inside=Identity(**fields, internal=True),
    )


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    """A NumericDate (RFC 7519, section 2)."""
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e15:
        refuse(f"The token is malformed: {name} is no time.")
    return float(value)


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    """The claim `name`; without one, dots select members of objects: ``realm_access.roles``. False where something on
    the way is no object, since that is malformed and not absent."""
    if name in claims or "." not in name:
        return claims.get(name)
    value: Any = claims
    for step in name.split("."):
        if value is None:
            return None
        value = value.get(step) if isinstance(value, dict) else False
    return value


def _words(value: Any) -> frozenset[str]:
    """Roles and scopes: a list of text, or one text with spaces between (RFC 6749, section 3.3; RFC 8693, section 4.2).
    Other white space of Unicode is part of a name: users may choose names at some issuers, and must not be able to
    add a role."""
    if isinstance(value, str):
        return frozenset(value.split(" ")) - {""}
    if isinstance(value, list):
        return frozenset(item for item in value if isinstance(item, str))
    return frozenset()
