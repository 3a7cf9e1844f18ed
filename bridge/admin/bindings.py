"""Role bindings in the admin API: those of ``tenants.yml``, which are read here, and those that are made here.

A caller who acts for a tenant sees and changes bindings of that tenant only, and gives nobody a role elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from bridge.admin.answers import json_response, prefix_of, read_body, time_text
from bridge.admin.publisher import PublisherAccess
from bridge.api.call import Identity
from bridge.api.validation import faults_of
from bridge.catalog.bindings import LiveBindings
from bridge.catalog.store import StoredBinding
from bridge.config.role_binding import RoleBinding
from bridge.errors import Conflict, Forbidden, InvalidBody, NotFound
from bridge.gateway.tenancy import Tenancy
from bridge.payload.parsing import parse_json
from bridge.payload.pointer import pointer_of

MAX_BODY = 256 << 10  #: bytes
FILE = "file:"  #: begins the id of a binding of ``tenants.yml``, with its place in the list from 1


class BindingPages:
    """The handlers, as those of `bridge.admin.api.Admin`."""

    def __init__(self, bindings: LiveBindings, tenancy: Tenancy, access: PublisherAccess) -> None:
        self._bindings, self._tenancy, self._access = bindings, tenancy, access

    def routes(self) -> list[BaseRoute]:
        """What is mounted under ``/-``."""
        route = self._access.route
        return [
            route("/-/bindings", GET=self.list_bindings, POST=self.create),
            route("/-/bindings/{id}", GET=self.show, PUT=self.replace, DELETE=self.delete),
            route("/-/bindings/{id}/history", GET=self.history),
        ]

    async def list_bindings(self, request: Request, who: Identity) -> Response:
        shown = [
            _of_file(number, binding)
            for number, binding in enumerate(self._tenancy.content.roles, 1)
            if _sees(who, binding.tenant)
        ]
        shown += [_entry(stored) for stored in self._bindings.all() if _sees(who, stored.binding.tenant)]
        return json_response({"bindings": shown})

    async def show(self, request: Request, who: Identity) -> Response:
        text = request.path_params["id"]
        if not text.startswith(FILE):
            stored = self._bindings.find(_number(text))
            _judge_of(who)(stored)
            return json_response(_entry(stored))
        number = _number(text.removeprefix(FILE))
        if not 0 < number <= len(self._tenancy.content.roles):
            raise _missing(text)
        binding = self._tenancy.content.roles[number - 1]
        if not _sees(who, binding.tenant):
            raise _missing(text)
        return json_response(_of_file(number, binding))

    async def create(self, request: Request, who: Identity) -> Response:
        stored = await self._bindings.put(0, await self._read(request, who), who.subject)
        location = f"{prefix_of(request)}/-/bindings/{stored.id}"
        return json_response(_entry(stored), 201, location=location)

    async def replace(self, request: Request, who: Identity) -> Response:
        binding_id, judge = _changeable(request.path_params["id"]), _judge_of(who)
        judge(self._bindings.find(binding_id))
        binding = await self._read(request, who)
        return json_response(_entry(await self._bindings.put(binding_id, binding, who.subject, judge)))

    async def delete(self, request: Request, who: Identity) -> Response:
        await self._bindings.delete(_changeable(request.path_params["id"]), who.subject, _judge_of(who))
        return Response(status_code=204)

    async def history(self, request: Request, who: Identity) -> Response:
        """The changes of a binding, as far as it was the caller's tenant's."""
        binding_id = _changeable(request.path_params["id"])
        revisions = [
            {"revision": one.number, "action": one.action, "by": one.by, "at": time_text(one.at), "binding": one.record}
            for one in await self._bindings.history(binding_id)
            if _sees(who, str(one.record.get("tenant")))
        ]
        if not revisions:
            raise _missing(str(binding_id))
        return json_response({"binding_id": binding_id, "revisions": revisions})

    async def _read(self, request: Request, who: Identity) -> RoleBinding:
        """The binding in the body; its tenant is the caller's if it names none.

        :raises InvalidBody: it is none. :raises Forbidden: it is not for the caller's tenant.
        """
        value = parse_json(await read_body(request, MAX_BODY, "A role binding"), exact=False)
        if not isinstance(value, dict):
            raise InvalidBody([("", "it must be an object, such as {role, issuer, subjects}")])
        if who.tenant:
            value = {"tenant": who.tenant} | value
        try:
            binding = RoleBinding.model_validate(value)
        except ValidationError as error:
            faults = faults_of(error, RoleBinding, value)
            raise InvalidBody([(pointer_of(fault.path), fault.reason) for fault in faults]) from None
        if who.tenant and binding.tenant != who.tenant:
            raise Forbidden(f"You give roles in the tenant {who.tenant!r} only.")
        return binding


def _sees(who: Identity, tenant: str) -> bool:
    return not who.tenant or who.tenant == tenant


def _judge_of(who: Identity) -> Callable[[StoredBinding], None]:
    """What asks whether a binding is the caller's to see and change."""

    def judge(stored: StoredBinding) -> None:
        if not _sees(who, stored.binding.tenant):
            raise _missing(str(stored.id))

    return judge


def _missing(text: str) -> NotFound:
    return NotFound(f"No role binding has the id {text}.")


def _number(text: str) -> int:
    """:raises NotFound: no binding has such an id."""
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise _missing(text[:80])
    return int(text)


def _changeable(text: str) -> int:
    """:raises Conflict: it is the file's. :raises NotFound: no binding has such an id."""
    if text.startswith(FILE):
        raise Conflict("This role is written in the operator's file of tenants; it is changed there.")
    return _number(text)


def _shown(binding: RoleBinding) -> dict[str, Any]:
    return binding.model_dump(mode="json", exclude_none=True)


def _of_file(number: int, binding: RoleBinding) -> dict[str, Any]:
    return {"binding_id": f"{FILE}{number}", "source": "file"} | _shown(binding)


def _entry(stored: StoredBinding) -> dict[str, Any]:
    entry: dict[str, Any] = {"binding_id": stored.id, "source": "store"} | _shown(stored.binding)
    return entry | {"by": stored.by, "at": time_text(stored.at)}
