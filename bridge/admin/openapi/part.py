"""One operation's part of the document: what its transformer describes, made to fit, with what the gateway adds."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from bridge.admin.openapi.access import access_of, access_text, judges_callers
from bridge.admin.openapi.example import fill
from bridge.admin.openapi.lifecycle import lifecycle_members, lifecycle_names, lifecycle_text
from bridge.admin.openapi.problems import PROBLEM, OperationTraits, header_refs, problem_names
from bridge.admin.openapi.published import PublishedOperation
from bridge.admin.openapi.refs import PREFIX, renamed
from bridge.admin.openapi.schemas import SchemaPool
from bridge.admin.openapi.template import DocumentPath
from bridge.api.spec.upstream import Upstream
from bridge.api.transformer import OperationDoc

log = logging.getLogger("bridge.openapi")

# OpenAPI 3.1, section 4.8.10, less `tags`, `security` and `operationId`, which are the gateway's, and `servers`, which
# could only say where the upstream is.
_KEPT = ("summary", "description", "externalDocs", "deprecated", "requestBody", "callbacks")
_IN = ("path", "query", "header", "cookie")
_BODILESS = ("GET", "HEAD")
_PROBLEM_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Place:
    """Where one operation stands in the document.

    :ivar own: its path with the parameters' names as its route has them.
    :ivar shown: the same path as the document spells it.
    :ivar method: upper case, never ``*``.
    """

    published: PublishedOperation
    own: DocumentPath
    shown: DocumentPath
    method: str


def described(published: PublishedOperation, pool: SchemaPool) -> dict[str, Any]:
    """The transformer's Operation Object with its schemas taken into `pool` and its references made to follow.

    A description that raises, isn't JSON or refers to what isn't there is replaced by a plain one, with a warning.
    """
    try:
        doc = published.operation.describe()
        names = pool.add(doc.schemas, doc.operation)
        fragment: dict[str, Any] = renamed(doc.operation, names)
        orjson.dumps(fragment)
        fill(_checked(fragment), pool.components)
        masked: dict[str, Any] = _masked(fragment, _upstream(published.spec.upstream))
        return masked
    except Exception as error:  # a plug-in's code: whatever it raises must not cost the others their document
        log.warning(
            "route %s, operation %s: it can't be described: %s",
            published.route_id,
            published.operation.name,
            error or type(error).__name__,
        )
        return renamed(_plain(published).operation, {})  # type: ignore[no-any-return]  # a dict in, a dict out


def _plain(published: PublishedOperation) -> OperationDoc:
    operation: dict[str, Any] = {
        "summary": published.operation.name,
        "description": "The details of this operation could not be described.",
        "responses": {"200": {"description": "The answer."}},
    }
    if published.operation.method not in (*_BODILESS, "DELETE", "OPTIONS"):
        operation["requestBody"] = {"content": {"application/json": {"schema": {}}}}
    return OperationDoc(operation)


def _checked(fragment: dict[str, Any]) -> dict[str, Any]:
    """:raises TypeError, ValueError: the parts that the gateway works on don't have the shape they should."""
    for parameter in fragment.get("parameters") or ():
        if not (isinstance(parameter, dict) and isinstance(parameter.get("name"), str) and parameter.get("in") in _IN):
            raise ValueError("a parameter without name or place")
    for status, response in (fragment.get("responses") or {}).items():
        if not isinstance(response, dict) or not isinstance(response.get("headers", {}), dict):
            raise TypeError(f"the response {status} is no Response Object")
        if not isinstance(content := response.get("content", {}), dict) or not _is_media(content.get(_PROBLEM_TYPE)):
            raise TypeError(f"the content of the response {status} is no map of Media Type Objects")
    body = fragment.get("requestBody") or {}
    if not isinstance(body, dict) or not isinstance(body.get("content") or {}, dict):
        raise TypeError("its requestBody is no Request Body Object")
    if not isinstance(fragment.get("description") or "", str):
        raise TypeError("its description is no text")
    return fragment


_SESSION = (
    "The service keeps a session for each caller. Its cookies are kept here and sent with the caller's next calls; "
    "clients need not handle them."
)


def _is_media(media: Any) -> bool:
    return media is None or isinstance(media, dict)


def _upstream(upstream: Upstream) -> re.Pattern[str]:
    """What names the upstream in prose. A name that is a plain word (``tally``) is told from the word by its port."""
    name, port = re.escape(upstream.name), re.escape(upstream.port)
    alone = "" if upstream.name.isalpha() else r"|(?![\w-])"
    return re.compile(rf"(?<![\w.-]){name}(?::{port}(?!\w){alone})")


def _masked(node: Any, name: re.Pattern[str], prose: bool = False) -> Any:
    """`node` with the upstream's name taken out of what people read: a client has no use for it, an attacker has."""
    if isinstance(node, dict):
        return {key: _masked(value, name, key in ("summary", "description")) for key, value in node.items()}
    if isinstance(node, list):
        return [_masked(item, name) for item in node]
    return name.sub("the service", node) if prose and isinstance(node, str) else node


def finished(
    fragment: Mapping[str, Any],
    place: Place,
    *,
    operation_id: str,
    tags: Sequence[str],
    security: Sequence[Mapping[str, Any]],
    server: str | None,
    also: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """The Operation Object as it goes into the document.

    :param server: the URL that its path is below; for documents that hold the routes of several hosts.
    :param also: what else is published at this path and method, for which OpenAPI has no room.
    """
    spec = place.published.spec
    entry: dict[str, Any] = {"tags": list(tags), "summary": place.published.operation.name}
    entry |= {key: fragment[key] for key in _KEPT if fragment.get(key)}
    if place.published.operation.method == "*" and place.method in _BODILESS:
        entry.pop("requestBody", None)
    access = access_of(spec.auth, place.method)
    if spec.deprecated is not None:
        entry["deprecated"] = True
    texts = (
        _upstream(spec.upstream).sub("the service", spec.description or "").strip(),
        entry.pop("description", None) or "",
        lifecycle_text(spec),
        _SESSION if spec.cookies is not None else "",
        access_text(access),
    )
    if any(texts):
        entry["description"] = "\n\n".join(filter(None, texts))
    entry["operationId"] = operation_id
    if parameters := _parameters(fragment.get("parameters") or (), place):
        entry["parameters"] = parameters
    entry["responses"] = _responses(fragment.get("responses") or {}, _traits(place, entry, secured=bool(security)))
    entry["security"] = [dict(requirement) for requirement in security]
    if server:
        entry["servers"] = [{"url": server}]
    entry |= {key: value for key, value in fragment.items() if key.startswith("x-")}
    ours: dict[str, Any] = {"route": place.published.route_id, "protocol": protocol(place.published)}
    if any(kind["type"] != "none" for kind in access):
        ours["access"] = access
    ours |= lifecycle_members(spec)
    if spec.limits is not None:
        ours["limits"] = [{"policy": limit.policy, **limit.model_dump(exclude_unset=True)} for limit in spec.limits]
    if spec.cookies is not None:
        ours["cookies"] = spec.cookies
    entry["x-bridge"] = {**ours, "also": list(also)} if also else ours
    return entry


def protocol(published: PublishedOperation) -> str:
    """What the upstream speaks: ``soap``, ``grpc``, ``xml``, ``http``, or a plug-in's name."""
    name = published.spec.transform.request
    return "http" if name == "passthrough" else name


def _parameters(declared: Sequence[Mapping[str, Any]], place: Place) -> list[dict[str, Any]]:
    """Path parameters in path order, each exactly once, then the others. One that isn't in the path is left out:
    OpenAPI 3.1, section 4.8.12.1, wants a path parameter's name to be in the template."""
    by_name = {(one["in"], one["name"]): dict(one) for one in declared}
    parameters = []
    for own, shown in zip(place.own.names, place.shown.names, strict=True):
        declaration = by_name.get(("path", own), {})
        parameter = {**declaration, "name": shown, "in": "path", "required": True}
        if "content" not in parameter:
            parameter.setdefault("schema", {"type": "string"})
        if own == place.own.rest:
            is_last = "/" not in place.shown.text.partition(f"{{{shown}}}")[2]
            note = ("The rest of the path" if is_last else "Any number of segments") + "; it may hold slashes."
            parameter["description"] = f"{parameter['description']} {note}" if parameter.get("description") else note
            parameter["x-bridge-rest"] = True
        parameters.append(parameter)
    return parameters + [one for (where, _), one in by_name.items() if where != "path"]


def _traits(place: Place, entry: Mapping[str, Any], *, secured: bool) -> OperationTraits:
    """:param entry: the Operation Object, with its ``requestBody`` if it takes a body."""
    spec = place.published.spec
    body: Mapping[str, Any] = entry.get("requestBody") or {}
    return OperationTraits(
        secured=secured,
        judged=judges_callers(spec, place.method),
        limited=spec.rate_limit is not None or spec.limits is not None,
        body=bool(body),
        typed=bool(body) and "*/*" not in (body.get("content") or {}),
        lifecycle=lifecycle_names(spec),
    )


def _responses(declared: Mapping[str, Mapping[str, Any]], traits: OperationTraits) -> dict[str, Any]:
    """What the transformer declares, with the gateway's fields; its own problems where nothing is declared."""
    shared = header_refs(traits)
    responses: dict[str, Any] = {}
    for status, response in declared.items():
        responses[status] = {
            "description": "",
            **response,
            "headers": {**shared, **response.get("headers", {})},
        }
        if (media := response.get("content", {}).get(_PROBLEM_TYPE)) is not None:
            responses[status]["content"] = {**response["content"], _PROBLEM_TYPE: _problem(media)}
    if not any(status[0] == "2" for status in responses):
        responses["200"] = {"description": "The answer.", "headers": shared}
    for status, name in problem_names(traits).items():
        responses.setdefault(status, {"$ref": f"#/components/responses/{name}"})
    return {status: responses[status] for status in sorted(responses)}


def _problem(media: Mapping[str, Any]) -> dict[str, Any]:
    """The Media Type Object of a problem that a transformer describes: its schema tells what it adds to a problem."""
    common, own = {"$ref": f"{PREFIX}{PROBLEM}"}, media.get("schema")
    return {**media, "schema": common if not own or own == common else {"allOf": [common, own]}}
