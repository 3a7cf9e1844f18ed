"""The pages' answers: headers, caching, and that every file they name is there."""

from __future__ import annotations

import re
from typing import Any

import pytest

PAGES = ("docs", "console")
OWN = ("static/portal.css", "static/console.css", "static/docs.css", "static/docs.js", "static/console/main.js")
VENDORED = "static/swagger-ui-5.35.0/swagger-ui.css"


def guarded(response: Any) -> bool:
    policy = response.headers["content-security-policy"]
    return (
        "default-src 'none'" in policy
        and "script-src 'self';" in policy
        and "unsafe" not in policy
        and "frame-ancestors 'none'" in policy
        and response.headers["x-content-type-options"] == "nosniff"
        and response.headers["referrer-policy"] == "no-referrer"
    )


@pytest.mark.parametrize("page", PAGES)
async def test_a_page_comes_under_a_strict_policy(pages: Any, page: str) -> None:
    response = await pages.get(page)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache"
    assert guarded(response)
    head = await pages.head(page)
    assert (head.status_code, head.content) == (200, b"")


@pytest.mark.parametrize("page", PAGES)
async def test_every_file_that_a_page_names_is_there(pages: Any, page: str) -> None:
    waiting = set(re.findall(r'(?:src|href)="(static/[^"]+)"', (await pages.get(page)).text))
    assert len(waiting) >= 4
    seen: set[str] = set()
    while waiting:
        file = waiting.pop()
        seen.add(file)
        response = await pages.get(file)
        assert response.status_code == 200, file
        assert guarded(response), file
        kind = response.headers["content-type"]
        assert {"js": "javascript", "css": "text/css", "svg": "image/svg+xml"}[file.rpartition(".")[2]] in kind
        if "/console/" in file:
            folder = file.rpartition("/")[0]
            imports = re.findall(r'from "\./([^"]+)"', response.text)
            waiting |= {f"{folder}/{name}" for name in imports} - seen


async def test_our_own_files_are_asked_for_again_and_come_from_the_cache(pages: Any) -> None:
    for file in OWN:
        first = await pages.get(file)
        assert first.headers["cache-control"] == "no-cache"
        again = await pages.get(file, headers={"if-none-match": first.headers["etag"]})
        assert again.status_code == 304, file
        assert guarded(again)


async def test_a_vendored_file_is_kept_for_good_since_its_path_names_its_version(pages: Any) -> None:
    assert (await pages.get(VENDORED)).headers["cache-control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize(
    "path",
    [
        "static/nothing.js",
        "static/",
        "static",
        "static/../pages.py",
        "static/%2e%2e/pages.py",
        "static/%2e%2e%2fpages.py",
    ],
)
async def test_nothing_else_is_served(pages: Any, path: str) -> None:
    response = await pages.get(path)
    assert response.status_code in (404, 405, 307)
    assert "StaticFiles" not in response.text
