"""The examples of docs/limits.md are served and called, and what the page says of numbers is the code's."""

from __future__ import annotations

import re
from pathlib import Path

from bridge.api.spec.limits import MAX_LIMITS
from bridge.cli.offline import explanation
from bridge.config.settings import load
from bridge.observe.metrics import LIMIT_FIGURES
from bridge.stages.quota import counters, memory, quota_file
from bridge.stages.quota.redis import address, client, lease, shared, store
from tests.conftest import Start, Upstream
from tests.docs.pages import ROOT, blocks_of
from tests.docs.tables import code, table

PAGE = (ROOT / "docs" / "limits.md").read_text("utf-8")
SEVERAL, COST, EXPLAINED, REFUSAL, SERVE = (block.text for block in blocks_of(ROOT / "docs" / "limits.md"))
ROUTE = "route: {path}\nupstream: svc:80\nauth: none\ntransform: {{request: passthrough}}\n{limits}"


def field(name: str) -> str:
    [value] = re.findall(rf"^{name}: (.*)$", REFUSAL, re.MULTILINE)
    return str(value)


async def test_the_examples(start: Start, upstream: Upstream) -> None:
    routes = {
        "a.yml": ROUTE.format(path="/several", limits=SEVERAL),
        "b.yml": ROUTE.format(path="/cost", limits=COST.replace("report: 20, ", "")),
        "c.yml": ROUTE.format(path="/day", limits=SEVERAL.replace("quota: 10000", "quota: 1")),
    }
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, routes=routes) as gateway:
        answer = await gateway.client.get("/several")
        assert answer.headers["ratelimit-policy"].split(", ") == [
            '"client";q=100;w=2',
            '"all";q=1000;w=2',
            '"tenant-day";q=10000;w=86400',
            '"key-concurrency";q=20;qu="concurrent-requests"',
        ]
        assert '"client";q=100;w=2' in field("RateLimit-Policy")
        assert "ratelimit" not in (await gateway.client.get("/cost")).headers
        left = [
            (await gateway.client.request(method, "/cost")).headers["x-ratelimit-remaining"]
            for method in ("POST", "PUT")
        ]
        assert left == ["55", "54"]
        await gateway.client.get("/day")
        refused = await gateway.client.get("/day")
    for name in ("RateLimit-Policy", "RateLimit", "X-RateLimit-Limit", "X-RateLimit-Reset", "Retry-After"):
        assert name.lower() in refused.headers
        assert field(name)
    assert refused.headers["ratelimit"].partition(";t=")[0] == field("RateLimit").partition(";t=")[0]
    assert refused.headers["content-type"] == field("Content-Type")
    assert f'"policy": "{refused.json()["policy"]}"' in REFUSAL


async def test_what_explain_says(tmp_path: Path) -> None:
    (tmp_path / "routes").mkdir()
    spec = ROUTE.format(path="/cost", limits=COST.replace("report: 20, ", ""))
    (tmp_path / "routes" / "a.yml").write_text(spec)
    text = await explanation(load({}, home=tmp_path), "POST /cost", b"{}", "")
    assert text.endswith(f"\n\n{EXPLAINED.strip()}")
    (tmp_path / "routes" / "a.yml").write_text(
        spec + "- {quota: 7, window: month, per: key}\n- {concurrency: 3}\n- {rps: 5, internal_rps: 9, per: route}\n"
    )
    lines = (await explanation(load({}, home=tmp_path), "GET /cost", b"", "")).splitlines()
    assert lines[-4:] == [
        "limits: client allows 10 calls a second and 60 at once, per client; this call takes 0",
        "limits: key-month allows 7 calls a month, per key; this call takes 1",
        "limits: client-concurrency allows 3 calls at once, per client",
        "limits: route allows 5 calls a second (internal callers 9 a second), per route; this call takes 1",
    ]


def test_the_numbers_are_the_codes() -> None:
    assert f"A route may have {MAX_LIMITS}, and `rate_limit`" in PAGE
    assert memory.MAX_BUCKETS == 100_000
    assert f"written every {quota_file.INTERVAL:g} seconds" in PAGE
    assert counters.STEP_BACK == 3600


def test_the_setting(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "redis").write_text("open sesame")
    [url] = re.findall(r"BRIDGE_LIMITS='(.*)' hms-bridge serve", SERVE)
    found = address.redis_address(url, tmp_path)
    assert (found.host, found.port, found.on_failure) == ("limits.internal", 6379, "local")
    assert found.credentials() == ("", "open sesame")


def test_the_numbers_of_redis_are_the_codes() -> None:
    rows = {code(row[0])[0]: row for row in table("docs/limits.md", "In Redis")}
    assert rows.keys() == set(address.OPTIONS)
    default = address.RedisAddress("a")
    assert code(rows["on_failure"][2]) == [default.on_failure]
    assert code(rows["timeout"][2]) == [f"{default.timeout:g}s"]
    assert code(rows["prefix"][2]) == [default.prefix]
    assert code(rows["timeout"][1]) == ["10ms", f"{address.LONGEST_TIMEOUT:g}s"]
    assert (lease.LIFE, lease.AHEAD, store.LEASE_SHARE, store.QUOTA_SHARE, store.QUOTA_LEASE) == (
        0.2,
        0.1,
        10,
        100,
        1000,
    )
    assert (shared.ALIVE, client.FIRST_RETRY, client.LONGEST_RETRY) == (15, 0.1, 2)
    metrics = [code(row[0])[0] for row in table("docs/limits.md", "Metrics of Redis")]
    assert metrics == [f"bridge_limits_{name}" + ("" if name.endswith("_up") else "_total") for name in LIMIT_FIGURES]
