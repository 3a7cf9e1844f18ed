"""Each block of the reference pages and of CONTRIBUTING.md is run by a test, or has its reason why not."""

from __future__ import annotations

import pytest

from tests.docs.not_run import NOT_RUN
from tests.docs.pages import ROOT, blocks_of

_SERVED = "docs/test_pages_served.py"
_GUIDE = "docs/test_plugin_guide.py"
_CONTRIBUTING = "docs/test_contributing.py"

#: By page: what only one block has, and the test that runs it.
RUN: dict[str, dict[str, str]] = {
    "docs/spec.md": {
        "wsdl: vat.wsdl": _SERVED,
        "# secrets.yml": _SERVED,
        "retry: {attempts": _SERVED,
        "compress: {min_size": _SERVED,
        "deprecated: {since": _SERVED,
        "upstream_auth: {type: basic": "egress/test_upstream_auth.py",
        "add: {X-Source: gateway}": "egress/test_edits.py",
        "index.php?module=ws&id={id}": "egress/test_edits.py",
        "forwarded: {headers: both": "egress/test_forwarded.py",
    },
    "docs/soap.md": {
        "operation: GetCountyReturns": _SERVED,
        "urn:bridge:problem:invalid-body": _SERVED,
        "wsdl: ledger.wsdl": _SERVED,
        '"#headers": {"TransactionInfo"': _SERVED,
        "wsdl: orders.wsdl": _SERVED,
        '"#attachments": {"front": "iVBOR': _SERVED,
        "route: /ws/returns": "gateway/test_soap_faults.py",
    },
    "docs/grpc.md": {
        "election/v1/ballots.proto]": _SERVED,
        "it imports 'county.proto'": "docs/test_grpc_page.py",
        "selector: election": _SERVED,
        "protos: [rpc.proto]": _SERVED,
        '"reason": "NO_COUNTY"': "docs/test_grpc_page.py",
        "hms-bridge import grpc localhost": "docs/test_grpc_page.py",
    },
    "docs/xml.md": {
        "route: /v1/permits/{id}": _SERVED,
        "route: /v1/results/{race}": _SERVED,
        "route: /v1/chat/{room*}": "docs/test_websocket_block.py",
        "services/Ledger.asmx": "stages/test_descriptions.py",
    },
    "docs/extend.md": {
        "class JsonSequence": _SERVED,
        "json_sequence:JsonSequence": _SERVED,
        "class CannedChannel": _SERVED,
        "canned_transport:Canned": _SERVED,
        "class Following": "docs/test_docs.py",
    },
    "docs/plugins.md": {
        "hms-bridge new-transformer shout": _GUIDE,
        "class ShoutCodec": _GUIDE,
        'name = "shout-transformer"': _GUIDE,
        "route: /say/{word}\nupstream: echo": _GUIDE,
        "class ImportingShout": _GUIDE,
        "importing:ImportingShout": _GUIDE,
        "smoke_package:Smoke": _SERVED,
        "class Echo(BaseHTTPRequestHandler)": _GUIDE,  # run by tests/cli/test_new_transformer.py
        "def test_a_call_and_its_reply": _GUIDE,
    },
    "examples/election_night/README.md": {"services/county_returns.py --port 8001": _SERVED},
    "CONTRIBUTING.md": {
        "class NamedClients": _CONTRIBUTING,
        "class VariableSource": _CONTRIBUTING,
        "class LengthPrefixed": _CONTRIBUTING,
        "class FormCodec": _CONTRIBUTING,
    },
}

#: Pictures of the way of a call, in signs.
PICTURES = {"docs/plugins.md": "open(context) ── bind", "docs/architecture.md": "ServerConnection: bytes to a request"}

PAGES = {*RUN, *PICTURES, "docs/performance.md", "SECURITY.md", "docs/glossary.md", "docs/README.md"}


@pytest.mark.parametrize("page", sorted(PAGES))
def test_each_block_is_run_or_has_its_reason(page: str) -> None:
    run, commands = RUN.get(page, {}), NOT_RUN.get(page, {})
    used: list[str] = []
    for block in blocks_of(ROOT / page):
        marks = [mark for mark in run if mark in block.text]
        lines = [line.removeprefix("$ ") for line in block.text.splitlines() if line.startswith("$ ")]
        if block.language == "console" and not marks:
            unknown = [line for line in lines if line not in commands]
            assert unknown == [], f"{block}: run it in a test, or say in not_run.py why not"
        elif page not in PICTURES or PICTURES[page] not in block.text:
            assert len(marks) == 1, f"{block}: no test runs it, or two do"
        used += marks
    assert sorted(used) == sorted(run)


def test_the_tests_hold_the_blocks() -> None:
    for page, marks in RUN.items():
        for test in set(marks.values()):
            text = (ROOT / "tests" / test).read_text("utf-8")
            assert page.rpartition("/")[2] in text, (page, test)
