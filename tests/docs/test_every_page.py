"""No page and no command is forgotten: each page with blocks has its test, and what is not run is still on its page."""

from __future__ import annotations

import re

import pytest

from tests.docs.not_run import NOT_RUN
from tests.docs.pages import PAGES, ROOT, blocks_of

#: The test that runs a page's blocks, or serves and calls what they hold. It fails if the page gets a block that it
#: doesn't know. Of pages with test_blocks.py each block is read alone, by what reads it in use.
READ_BY = {
    "README.md": "test_readme.py",
    "docs/access.md": "test_access_page.py",
    "docs/admin.md": "test_admin_page.py",
    "docs/architecture.md": "../architecture/test_walk.py",
    "docs/bound-tokens.md": "test_bound_tokens_page.py",
    "docs/cli.md": "test_cli_page.py",
    "docs/client-certificates.md": "test_client_certificates_page.py",
    "docs/edge.md": "test_edge_page.py",
    "docs/extend.md": "test_pages_served.py",
    "docs/grpc.md": "test_grpc_page.py",
    "docs/guards.md": "test_guards_page.py",
    "docs/install.md": "test_install_page.py",
    "docs/introspection.md": "test_introspection_page.py",
    "docs/limits.md": "test_limits_page.py",
    "docs/mesh.md": "test_mesh_page.py",
    "docs/openapi.md": "test_openapi_page.py",
    "docs/performance.md": "test_reference_commands.py",
    "docs/plugins.md": "test_plugin_guide.py",
    "docs/quickstart.md": "test_walk.py",
    "docs/soap.md": "test_pages_served.py",
    "docs/spec.md": "test_pages_served.py",
    "docs/upstream_auth.md": "test_upstream_auth_page.py",
    "docs/xml.md": "test_pages_served.py",
    "examples/election_night/README.md": "test_pages_served.py",
}


def test_every_page_with_blocks_has_its_test() -> None:
    assert {str(path.relative_to(ROOT)) for path in PAGES if blocks_of(path)} == READ_BY.keys()


@pytest.mark.parametrize("page", READ_BY)
def test_the_test_reads_the_page(page: str) -> None:
    test = (ROOT / "tests" / "docs" / READ_BY[page]).read_text("utf-8")
    assert READ_BY[page] == "test_blocks.py" or f'{page.rpartition("/")[2]}"' in test


def test_what_is_not_run_is_on_its_page_and_has_its_reason() -> None:
    for page, commands in NOT_RUN.items():
        text = "".join(block.text for block in blocks_of(ROOT / page) if block.language in ("console", "sh"))
        lines = {line.removeprefix("$ ") for line in re.sub(r"\\\n *", "", text).splitlines()}
        assert commands.keys() <= lines, page
        assert all(commands.values())
