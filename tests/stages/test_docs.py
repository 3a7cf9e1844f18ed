"""docs/guards.md says what is so: its examples load, and its names and numbers are the code's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter
from ruamel.yaml import YAML

from bridge.api.spec.auth import Auth
from bridge.api.spec.limits import Cache, RateLimit
from bridge.errors import Forbidden, IssuerUnavailable, RateLimited, Unauthorized
from bridge.stages.auth import issuers, jwks, jws, jwt, published
from bridge.stages.auth.issuers import Issuer, read_issuers
from bridge.stages.auth.keys import ALGORITHMS
from bridge.stages.cache import memory as cache
from bridge.stages.quota import memory as limits

TEXT = (Path(__file__).parents[2] / "docs" / "guards.md").read_text("utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
MODELS: dict[str, TypeAdapter[Any]] = {
    "auth": TypeAdapter(Auth),
    "rate_limit": TypeAdapter(RateLimit),
    "cache": TypeAdapter(Cache),
}


def test_the_issuers_file_loads(tmp_path: Any) -> None:
    (block,) = [block for block in BLOCKS if block.startswith("# issuers.yml")]
    path = tmp_path / "issuers.yml"
    path.write_text(block)
    assert len(read_issuers(path)) == 3


@pytest.mark.parametrize(
    "line", [line for block in BLOCKS for line in block.splitlines() if re.match(r"[a-z_]+: ", line)]
)
def test_every_spec_line_is_valid(line: Any) -> None:
    ((key, value),) = YAML(typ="safe").load(line).items()
    MODELS[key].validate_python(value)


def test_nothing_is_left_out() -> None:
    for model in (Issuer, RateLimit, Cache):
        assert all(f"{name}" in TEXT for name in model.model_fields)
    assert all(f"`{name}`" in TEXT for name in ALGORITHMS)
    assert all(f"`{kind.slug}`" in TEXT for kind in (Unauthorized, Forbidden, IssuerUnavailable, RateLimited))


def test_the_numbers_are_the_codes() -> None:
    assert (jwt.LEEWAY, issuers.MAX_LEEWAY, jws.MAX_TOKEN, jwt.REMEMBERED) == (10, 300, 16 * 1024, 4096)
    assert (published.FETCH_TIMEOUT, jwks.MAX_JWKS, published.DEFAULT_AGE) == (5, 512 * 1024, 300)
    assert (published.MIN_AGE, published.MAX_AGE) == (30, 3600)
    assert (jwks.CALL_WAIT, jwks.UNKNOWN_KID_BURST, jwks.UNKNOWN_KID_INTERVAL) == (2, 3, 2)
    assert (issuers.MAX_STALE, issuers.LONGEST_STALE, jwks.MAX_RETRY) == (3600, 7 * 86400, 30)
    assert (limits.MAX_BUCKETS, limits.MAX_SLOTS) == (100_000, 64)
    assert (cache.MAX_BYTES, cache.MAX_ENTRIES) == (16 * 1024**2, 4096)
