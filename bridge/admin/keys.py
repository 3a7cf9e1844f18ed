"""API keys in the admin API: listed, issued, shown, rotated and revoked.

Nobody gets more through a key than they have. A caller whose token names a tenant

- sees, makes and changes keys of that tenant only; another's key is not found;
- gives a key no role and no scope that the token itself lacks;
- gives none of `GUARDED`, since they count in the gateway itself. Only an ``api_admin`` without a tenant gives those.

A rotation hands out the new key's text, so it asks for the same as issuing a key with these roles and scopes. No API
key makes any of these calls: they take a JWT.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any, TypeVar

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from bridge.admin.answers import json_response, prefix_of, read_body
from bridge.admin.key_entry import entry_etag, key_entry
from bridge.admin.permissions import ADMIN, AUDITOR, PUBLISHER
from bridge.admin.publisher import PublisherAccess, preconditions
from bridge.api.call import Identity
from bridge.api.spec.scalars import Model
from bridge.api.validation import faults_of
from bridge.catalog.key_terms import KeyTerms, Rotation
from bridge.catalog.keys import KeyJudge, LiveKeys
from bridge.errors import Forbidden, InvalidBody, NotFound, PreconditionFailed
from bridge.payload.parsing import parse_json
from bridge.payload.pointer import pointer_of
from bridge.stages.auth.stored_key import StoredKey

MAX_BODY = 64 << 10  #: bytes; a key with all the roles and scopes that it may have
#: Roles of the gateway itself: they open its pages, and decide which rate limit holds.
GUARDED = frozenset({PUBLISHER, ADMIN, AUDITOR, "internal"})

M = TypeVar("M", bound=Model)


class KeyPages:
    """The handlers, as those of `bridge.admin.api.Admin`."""

    def __init__(self, keys: LiveKeys, access: PublisherAccess) -> None:
        self._keys = keys
        self._access = access

    def routes(self) -> list[BaseRoute]:
        """What is mounted under ``/-``."""
        route = self._access.route
        return [
            route("/-/keys", GET=self.list_keys, POST=self.issue),
            route("/-/keys/{id}", GET=self.show, DELETE=self.revoke),
            route("/-/keys/{id}/rotate", POST=self.rotate),
        ]

    async def list_keys(self, request: Request, who: Identity) -> Response:
        keys, now = await self._keys.all(), self._keys.clock()

        def entries() -> list[dict[str, Any]]:
            own = [key for key in keys if _is_own(who, key)]
            return [key_entry(key, now) for key in sorted(own, key=lambda key: (-key.created, key.id))]

        # Ten thousand take a while, in which everybody else is served.
        return _unstored({"keys": await asyncio.to_thread(entries)})

    async def issue(self, request: Request, who: Identity) -> Response:
        terms = await _body(request, KeyTerms)
        if who.tenant and terms.tenant is None:
            terms = terms.model_copy(update={"tenant": who.tenant})
        if who.tenant and terms.tenant != who.tenant:
            raise Forbidden(f"You make keys for {who.tenant!r}, and not for another tenant.")
        _check_grant(who, terms.roles, terms.scopes)
        text, key = await self._keys.issue(terms, who.subject)
        return self._issued(request, text, key)

    async def show(self, request: Request, who: Identity) -> Response:
        key = await self._keys.get(request.path_params["id"])
        if not _is_own(who, key):
            raise _not_found(key.id)
        entry = key_entry(key, self._keys.clock())
        etag = entry_etag(entry)
        if preconditions(request).known(etag):
            return Response(status_code=304, headers={"etag": f'"{etag}"', **_UNSTORED})
        return _unstored(entry, etag=f'"{etag}"')

    async def rotate(self, request: Request, who: Identity) -> Response:
        rotation = await _body(request, Rotation)
        judge = self._judge(request, who)

        def may_rotate(key: StoredKey) -> None:
            judge(key)
            _check_grant(who, key.roles, key.scopes)

        text, key = await self._keys.rotate(request.path_params["id"], rotation.overlap, who.subject, may_rotate)
        return self._issued(request, text, key)

    async def revoke(self, request: Request, who: Identity) -> Response:
        await self._keys.revoke(request.path_params["id"], who.subject, self._judge(request, who))
        return Response(status_code=204)

    def _issued(self, request: Request, text: str, key: StoredKey) -> Response:
        entry = key_entry(key, self._keys.clock())
        location = f"{prefix_of(request)}/-/keys/{key.id}"
        return _unstored({"key": text, **entry}, 201, location=location, etag=f'"{entry_etag(entry)}"')

    def _judge(self, request: Request, who: Identity) -> KeyJudge:
        """What a change asks of the key as the store has it at the commit.

        :raises ClientError: a precondition is malformed.
        """
        conditions = preconditions(request)

        def judge(key: StoredKey) -> None:
            if not _is_own(who, key):
                raise _not_found(key.id)
            etag = entry_etag(key_entry(key, self._keys.clock()))
            if not conditions.matches(etag) or conditions.known(etag):
                reason = "The key has changed since you read it. Read it again, then decide."
                raise PreconditionFailed(reason, headers=[("etag", f'"{etag}"')])

        return judge


#: Answers that hold a key, or say who has one, are kept nowhere on the way (RFC 9111, section 5.2.2.5).
_UNSTORED = {"cache-control": "no-store"}


def _unstored(value: Any, status: int = 200, **headers: str) -> Response:
    return json_response(value, status, **headers, **_UNSTORED)


def _is_own(who: Identity, key: StoredKey) -> bool:
    return not who.tenant or key.tenant == who.tenant


def _not_found(key_id: str) -> NotFound:
    return NotFound(f"No API key has the id {key_id}.")


def _check_grant(who: Identity, roles: Collection[str], scopes: Collection[str]) -> None:
    """:raises Forbidden: a key would have more than `who` may give."""
    if not who.tenant:
        return
    guarded = sorted(GUARDED.intersection(roles))
    if guarded:
        raise Forbidden(f"Only an api_admin without a tenant makes keys with the role {guarded[0]}.")
    for kind, wanted, own in (("role", roles, who.roles), ("scope", scopes, who.scopes)):
        missing = sorted(set(wanted) - own)
        if missing:
            raise Forbidden(f"Your token lacks the {kind} {missing[0]}, so you can't make a key that has it.")


async def _body(request: Request, model: type[M]) -> M:
    """The body as `model`; none is an empty one.

    :raises InvalidBody: it is something else; names each key that is wrong.
    """
    text = await read_body(request, MAX_BODY, "The description of a key")
    value = parse_json(text, exact=False) if text.strip() else {}
    try:
        return model.model_validate(value)
    except ValidationError as error:
        faults = faults_of(error, model, value)
        raise InvalidBody([(pointer_of(fault.path), fault.reason) for fault in faults]) from None
