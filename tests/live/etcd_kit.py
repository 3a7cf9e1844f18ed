"""A route to etcd, and what is the same in the answers of its own JSON gateway and of ours."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import httpx

PROTOS = {
    f"protos/etcd/{path.name}": path.read_text("utf-8") for path in (Path(__file__).parent / "etcd").glob("*.proto")
}
#: Watch is published at two paths by a rule of the spec, which replaces the one in the proto: a body's stream, and for
#: browsers, whose EventSource only knows GET. Its events are named by the revision that they tell last.
SPEC = """
route: /
upstream: etcd-svc:2379
auth: {type: none}
stream: {heartbeat: 200ms}
transform:
  request: grpc
  grpc:
    protos: [etcd/rpc.proto]
    print: {proto_names: true}
    http_rules:
      - selector: etcdserverpb.Watch.Watch
        post: /v3/watch
        body: "*"
        additional_bindings: [{get: "/keys/{create_request.key}/events"}]
    events: {Watch: {id: events.kv.mod_revision, resume: create_request.start_revision, retry: 1s}}
"""
_REVISIONS = frozenset({"revision", "create_revision", "mod_revision"})
#: What etcd counts for itself, whoever asks.
_COUNTS = frozenset(
    {"authRevision", "raft_term", "dbSize", "dbSizeInUse", "raftIndex", "raftTerm", "raftAppliedIndex", "hash"}
)


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


async def revision(client: httpx.AsyncClient) -> int:
    """The store's revision."""
    answer = await client.post("/v3/kv/range", json={"key": b64("nothing")})
    return int(answer.json()["header"]["revision"])


def since(answer: Any, start: int) -> Any:
    """An answer with its revisions counted from `start`, and without etcd's own counts."""
    if isinstance(answer, list):
        return [since(item, start) for item in answer]
    if not isinstance(answer, dict):
        return answer
    return {
        key: int(value) - start if key in _REVISIONS else since(value, start)
        for key, value in answer.items()
        if key not in _COUNTS
    }


async def told(client: httpx.AsyncClient, path: str, body: str, start: int, content_type: str) -> tuple[int, Any]:
    """Status and what the answer says: its JSON, or of an error of etcd's its code and message. Status 0: none came."""
    try:
        answer = await client.post(path, content=body, headers={"content-type": content_type})
    except httpx.RemoteProtocolError:
        return 0, None
    if answer.status_code == 200:
        return 200, since(json.loads(answer.text), start)
    if answer.headers["content-type"].startswith("text/plain"):
        return answer.status_code, None
    said = answer.json()
    status = said.get("grpc", said)
    # A problem of the gateway's own has a code (the HTTP status), but no message.
    return answer.status_code, (status["code"], status["message"]) if "message" in status else None
