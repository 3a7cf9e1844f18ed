"""Streams in OpenAPI 3.1, which has no terms of its own for them (itemSchema comes with 3.2): each format with the
schema of its messages, and prose for what JSON Schema can't say."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from bridge.api.service import Service
from bridge.api.transformer import OperationDoc

_JSON = "application/json"
_ERROR = {
    "type": "object",
    "description": "Only as the last item: the stream failed, and this is the problem.",
    "required": ["error"],
    "properties": {"error": {"type": "object"}},
}
#: Appended to the description of an operation, by (client streams, server streams).
PROSE = {
    (False, True): (
        "The answer is a stream: `Accept` chooses NDJSON, server-sent events or an array, or it comes over a WebSocket "
        'at the same path. If the stream fails midway, its last item is `{"error": …}` (an event named `error`).'
    ),
    (True, False): (
        "The request is a stream of messages: NDJSON, an array, or the frames of a WebSocket at the same path, which "
        "an empty frame ends."
    ),
    (True, True): (
        "Both sides stream. Over a WebSocket at the same path each frame is one message, and an empty frame ends the "
        "client's side; over a request its messages are NDJSON or an array, answered while they come where the client "
        "can read and write at once."
    ),
}


def streaming(describe: Callable[[], OperationDoc], service: Service) -> Callable[[], OperationDoc]:
    """`describe`, which tells of single messages, for an operation that streams them."""

    def described() -> OperationDoc:
        doc = describe()
        operation = doc.operation
        prose = PROSE[service.client_streaming, service.server_streaming]
        operation["description"] = "\n\n".join(part for part in (operation.get("description"), prose) if part)
        if service.client_streaming and "requestBody" in operation:
            _replace_content(operation["requestBody"], _sent)
        if service.server_streaming:
            _replace_content(operation["responses"]["200"], _answered)
        operation["x-websocket"] = True
        return doc

    return described


def _replace_content(part: dict[str, Any], content: Callable[[Any, Any], dict[str, Any]]) -> None:
    """Raw bodies stay as they are."""
    if message := part["content"].get(_JSON):
        part["content"] = content(message["schema"], message["example"])


def _sent(schema: Any, example: Any) -> dict[str, Any]:
    return {
        "application/x-ndjson": {"schema": schema, "example": _line(example)},
        _JSON: {"schema": {"type": "array", "items": schema}, "example": [example]},
    }


def _answered(schema: Any, example: Any) -> dict[str, Any]:
    item = {"anyOf": [schema, _ERROR]}
    event = f"id: 1\ndata: {json.dumps(example)}\n\nevent: end\ndata: {{}}\n\n"
    return {
        "application/x-ndjson": {"schema": item, "example": _line(example)},
        "text/event-stream": {"schema": {"type": "string"}, "example": event},
        _JSON: {"schema": {"type": "array", "items": item}, "example": [example]},
    }


def _line(example: Any) -> str:
    return json.dumps(example) + "\n"
