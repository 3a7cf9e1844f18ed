"""What is wrong with a route is told at once: its options by their model, its rules by grammar and by the schema."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.api import BindError
from bridge.cli.offline import judge
from bridge.config.settings import Settings
from bridge_grpc.schema.compile_protos import compile_protos

PROTO = """syntax = "proto3"; package a; message M { string id = 1; M m = 2; }
service S { rpc Get(M) returns (M); rpc Put(M) returns (M); }
"""
SPEC = """route: /v1
upstream: grpc://a:1
auth: none
rate_limit: {rps: -1}
transform:
  request: grpc
  response: json
  grpc:
    protos: [a.proto]
    http_rules:
      - {selector: a.S.Get, get: "/y/{id", additional_bindings: [{get: "/q/{m}"}, {post: "/p", body: "no"}]}
      - {selector: a.S.Nope, get: "/y"}
    statuses: {Nope: 201}
    calls: {Never: {timeout: 1s}}
    fields: {idd: x}
"""


async def told(home: Path, spec: str) -> list[str]:
    for name, text in (("protos/a.proto", PROTO), ("routes/a.yml", spec)):
        (home / name).parent.mkdir()
        (home / name).write_text(text)
    faults, *_ = await judge(Settings(home=home), [])
    return [f"{fault.line} {'.'.join(map(str, fault.path)).removeprefix('transform.grpc.')}" for fault in faults]


RULES = [
    "4 rate_limit.rps", "11 http_rules.0", "11 http_rules.0.additional_bindings.0",
    "11 http_rules.0.additional_bindings.1", "12 http_rules.1.selector", "13 statuses.Nope", "14 calls.Never",
    "15 fields.idd",
]  # fmt: skip


async def test_check_tells_faults_of_rules_and_of_every_option_together(tmp_path: Path) -> None:
    assert sorted(await told(tmp_path, SPEC), key=lambda fault: int(fault.split()[0])) == RULES


async def test_check_tells_them_beside_options_that_are_none(tmp_path: Path) -> None:
    spec = SPEC + '    print: {enum_numbrs: true}\n    unkown: ignore\n    metadata: {"a b": x}\n'
    faults = await told(tmp_path, spec)
    assert sorted(faults[1:4]) == ["16 print.enum_numbrs", "17 unkown", "18 metadata"]
    assert sorted([faults[0], *faults[4:]], key=lambda fault: int(fault.split()[0])) == RULES


async def test_an_option_that_all_others_need_hides_no_traceback(tmp_path: Path) -> None:
    assert await told(tmp_path, SPEC.replace("[a.proto]", "5")) == ["4 rate_limit.rps", "9 protos"]


def test_a_file_that_is_missing_does_not_hide_what_is_wrong_in_others(tmp_path: Path) -> None:
    (tmp_path / "b.proto").write_text('syntax = "proto3"; message M { Nope n = 1; }')
    with pytest.raises(BindError) as caught:
        compile_protos(["b.proto", "c.proto", "d.proto"], tmp_path)
    reasons = [fault.reason for fault in caught.value.faults]
    assert reasons[:2] == [f"there is no file '{name}.proto' in the proto folder" for name in ("c", "d")]
    assert reasons[2].startswith('"Nope" is not defined')
