"""``any``: several kinds of credentials, of which a caller has one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bridge.api.authenticator import Authenticator, Security
from bridge.api.call import Call, Identity
from bridge.api.capabilities import Remarking, capability
from bridge.errors import ClientError, Forbidden, IssuerUnavailable, RequestError, Unauthorized
from bridge.stages.auth.anonymous import OpenAuthenticator


class Kind(Authenticator, Protocol):
    """An authenticator that ``any`` can choose by a call's credentials."""

    kind: str
    accepts: str
    challenge: str

    def present(self, call: Call) -> bool:
        """Whether the call has this kind's credentials, valid or not."""
        ...


class AnyAuthenticator:
    """``any``: the first kind whose credentials the call has decides. Wrong credentials do not lead to a later kind;
    only several entries of the deciding kind are tried in turn. ``none`` at any place in the list admits callers
    without credentials."""

    def __init__(self, kinds: Sequence[Kind], fallback: OpenAuthenticator | None) -> None:
        self._kinds = kinds
        self._fallback = fallback
        self.consumes = frozenset[str]().union(*(kind.consumes for kind in kinds))

    def known(self, call: Call) -> Identity | None:
        return None

    async def __call__(self, call: Call) -> Identity:
        first = next((kind for kind in self._kinds if kind.present(call)), None)
        if first is None:
            if self._fallback is not None:
                return await self._fallback(call)
            raise self._nothing()
        problem: RequestError | None = None
        for kind in self._kinds:
            if kind.kind == first.kind and kind.present(call):
                try:
                    return await kind(call)
                except (ClientError, IssuerUnavailable) as error:
                    # Valid but insufficient credentials are a better reason than wrong ones, and wrong ones none while
                    # an issuer that could have known them is away.
                    if problem is None or isinstance(error, Forbidden) or _weight(error) > _weight(problem):
                        problem = error
        assert problem is not None
        raise problem

    def _nothing(self) -> Unauthorized:
        accepted = " or ".join(dict.fromkeys(kind.accepts for kind in self._kinds))
        challenges = dict.fromkeys(kind.challenge for kind in self._kinds)
        return Unauthorized(
            f"This route takes {accepted}.", headers=[("www-authenticate", challenge) for challenge in challenges]
        )

    @property
    def remarks(self) -> Sequence[str]:
        remarking = [capability(kind, Remarking) for kind in self._kinds]
        return list(dict.fromkeys(remark for each in remarking if each is not None for remark in each.remarks))

    def openapi_scheme(self, method: str = "") -> Security:
        parts = [kind.openapi_scheme(method) for kind in self._kinds]
        schemes = {name: scheme for part in parts for name, scheme in part.schemes.items()}
        requirements = [requirement for part in parts for requirement in part.requirements]
        # OpenAPI 3.1: an empty requirement beside others makes security optional.
        return Security(schemes, (*requirements, {}) if self._fallback else tuple(requirements))


def _weight(error: RequestError) -> int:
    return 2 if isinstance(error, Forbidden) else 1 if isinstance(error, IssuerUnavailable) else 0
