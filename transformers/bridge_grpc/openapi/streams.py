"""Streams in OpenAPI 3.1, which has no words of its own for them (itemSchema comes with 3.2): every form with the
schema of what it holds, and prose for what JSON Schema can't say."""

from __future__ import annotations

import json
from typing import Any

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


def sent(schema: dict[str, Any], example: Any) -> dict[str, Any]:
    """The content of a request whose messages have `schema`."""
    return {
        "application/x-ndjson": {"schema": schema, "example": _lines(example)},
        "application/json": {"schema": {"type": "array", "items": schema}, "example": [example]},
    }


def answered(schema: dict[str, Any], example: Any) -> dict[str, Any]:
    """The content of an answer whose messages have `schema`."""
    event = f"id: 1\ndata: {json.dumps(example)}\n\nevent: end\ndata: {{}}\n\n"
    return {
        "application/x-ndjson": {"schema": {"anyOf": [schema, _ERROR]}, "example": _lines(example)},
        "text/event-stream": {"schema": {"type": "string"}, "example": event},
        "application/json": {
            "schema": {"type": "array", "items": {"anyOf": [schema, _ERROR]}},
            "example": [example],
        },
    }


def _lines(example: Any) -> str:
    return json.dumps(example) + "\n"
