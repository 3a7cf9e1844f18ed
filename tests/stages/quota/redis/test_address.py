"""What ``BRIDGE_LIMITS`` may say of a Redis, and that no message repeats a password."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bridge.config.settings import Settings
from bridge.errors import SettingsError
from bridge.runtime import Runtime
from bridge.stages.quota.redis.address import redis_address
from bridge.stages.quota.setting import open_limits
from bridge.stages.quota.store import MemoryLimits
from tests.conftest import Start, Upstream


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://a", "redis://a:6379/0"),
        ("redis://user:hunter2@a:7000/3", "redis://a:7000/3"),
        ("rediss://[::1]/", "rediss://[::1]:6379/0"),
    ],
)
def test_an_address_is_shown_without_its_password(url: str, shown: str) -> None:
    address = redis_address(url, Path())
    assert str(address) == shown
    assert "hunter2" not in f"{address!r}"


def test_its_parts() -> None:
    url = "redis://us%40er:p%2Fw@a:7000/3?on_failure=closed&share=.25&timeout=250ms&prefix=eu:gw"
    address = redis_address(url, Path())
    assert (address.host, address.port, address.database) == ("a", 7000, 3)
    assert address.credentials() == ("us@er", "p/w")
    assert (address.on_failure, address.share, address.timeout, address.prefix) == ("closed", 0.25, 0.25, "eu:gw")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("redis:///0", "names no host"),
        ("redis://:hunter2@", "names no host"),
        ("redis://:hunter2@a:port", "can't be read"),
        ("redis://:hunter2@a:99999", "can't be read"),
        ("redis://:hunter2@a/b", "number of a database"),
        ("redis://:hunter2@a?on_failure=shut", "on_failure: 'shut' is not one of open, closed, local"),
        ("redis://:hunter2@a?on_failur=open", "did you mean 'on_failure'"),
        ("redis://:hunter2@a?share=0", "share: it is more than 0"),
        ("redis://:hunter2@a?share=1.5", "share: it is more than 0"),
        ("redis://:hunter2@a?timeout=3s", "timeout: it is 10ms to 2s, not 3s"),
        ("redis://:hunter2@a?timeout=soon", "timeout: 'soon' is no duration"),
        ("redis://:hunter2@a?prefix=a%20b", "prefix: it is"),
        ("redis://:hunter2@a?password_file=none", "one of them is enough"),
        ("redis://a?password_file=none", "password_file: none can't be read: No such file"),
        ("redis://a?ca=none", "ca: it is for TLS"),
        ("rediss://a?ca=none", "ca: none can't be used"),
        ("memcached://:hunter2@a", "it is memory://, redis://"),
        ("memory", "it is memory://, redis://"),
    ],
)
def test_a_setting_that_cannot_be_used(url: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        open_limits(Settings(home=tmp_path, limits=url))
    assert str(caught.value).startswith("BRIDGE_LIMITS: ")
    assert reason in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_what_is_only_bound_writes_nothing(tmp_path: Path) -> None:
    store = open_limits(Settings(home=tmp_path), writes=False)
    assert isinstance(store, MemoryLimits)
    assert not (tmp_path / ".bridge").exists()


async def test_no_route_may_read_the_password(start: Start, upstream: Upstream, tmp_path: Path) -> None:
    spec: dict[str, Any] = {
        "route": "/a", "upstream": "svc:80", "auth": "none", "transform": {"request": "passthrough"},
        "headers": {"request": {"set": {"X-Word": {"$file": "secrets/redis"}}}},
    }  # fmt: skip
    files = {"secrets/redis": "open sesame"}
    limits = "redis://127.0.0.1:1?password_file=secrets/redis"
    async with start(mesh={"svc": f"127.0.0.1:{upstream.port}"}, files=files, limits=limits) as gateway:
        (gateway.home / "routes" / "a.json").write_text(json.dumps(spec))
        runtime = Runtime(gateway.settings, serving=False, writing=False)
        try:
            with pytest.raises(Exception, match="secrets/redis"):
                await runtime.registry.load()
        finally:
            await runtime.aclose()
