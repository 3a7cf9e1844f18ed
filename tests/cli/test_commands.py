"""Every command once, right and wrong."""

from __future__ import annotations

import json
import re
import shutil
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest

from tests.soap_kit import WSDL_DIR
from tests.terminals import terminal

SPEC = "route: /v1/a/{id}\nupstream: svc:80\nauth: {type: none}\ntransform: {request: passthrough}\n"


@pytest.mark.parametrize(
    "command",
    ["serve", "check", "routes", "openapi", "explain", "token", "import", "import soap", "import grpc", "key new"],
)
def test_every_command_has_help(cli: Any, command: str) -> None:
    done = cli(*command.split(), "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage" in done.stdout


def test_check(cli: Any, home: Path) -> None:
    (home / "good.yml").write_text(SPEC)
    (home / "bad.yml").write_text(SPEC + "x: 1\n")
    good = cli("check", "good.yml")
    assert (good.returncode, good.stdout, good.stderr) == (0, "1 route: all right.\n", "")
    bad = cli("check", "good.yml", "bad.yml", "none.yml")
    assert bad.returncode == 1
    assert bad.stderr == "bad.yml:5: x: unknown key\nnone.yml: No such file or directory\n"
    told = json.loads(cli("check", "bad.yml", "--json").stdout)
    assert told["problems"] == [{"file": "bad.yml", "line": 5, "key": "x", "reason": "unknown key"}]
    (home / "soap.yml").write_text(SPEC.replace("passthrough}", "soap, soap: {wsdl: none.wsdl}}"))
    missing = cli("check", "soap.yml")
    assert missing.returncode == 1
    assert "none.wsdl" in missing.stderr
    assert "Traceback" not in missing.stderr
    twice = cli("check", "good.yml", "good.yml")
    assert "published twice" in twice.stderr


PAPERS = {
    "{type: JWT, audience: A, issuer: urn:bridge:local, roles: [a, b], methods: {POST: {scopes: [w]}}}": [
        "routes/a.yml: /v1/a/{id}: callers need a bearer token (JWT) from urn:bridge:local for the audience A "
        "with the role a or b",
        "routes/a.yml: POST /v1/a/{id}: callers need a bearer token (JWT) from urn:bridge:local for the audience A "
        "with the role a or b and the scope w",
    ],
    "{any: [{type: api_key}, {type: JWT, proof: dpop}]}": [
        "routes/a.yml: /v1/a/{id}: callers need an API key in X-API-Key, or a bearer token (JWT) that is bound to a "
        "key (DPoP)"
    ],
    "{any: [{type: api_key}, {type: none}]}": [
        "routes/a.yml: /v1/a/{id}: callers need an API key in X-API-Key, or no credentials"
    ],
    "none": [],
}


@pytest.mark.parametrize("auth", PAPERS)
def test_check_and_explain_say_which_papers_a_route_wants(cli: Any, home: Path, auth: str) -> None:
    text = SPEC.replace("{type: none}", auth)
    assert f"auth: {auth}" in text
    (home / "routes/a.yml").write_text(text)
    lines = PAPERS[auth]
    done = cli("check")
    assert (done.returncode, done.stdout.replace(f"{home}/", "").splitlines()) == (0, [*lines, "1 route: all right."])
    told = json.loads(cli("check", "--json").stdout)["access"]
    needs = [line[line.index("callers need") :] for line in lines]
    assert [one["needs"] for one in told if one["needs"]] == needs
    explained = cli("explain", "POST /v1/a/7").stdout.splitlines()[0]
    assert explained.endswith(f"; {needs[-1]})" if needs else "by http)")


def test_check_takes_a_folder(cli: Any, home: Path) -> None:
    (home / "routes/a.yml").write_text(SPEC)
    (home / "routes/deep").mkdir()
    (home / "routes/deep/b.yml").write_text(SPEC.replace("/v1/a/{id}", "/v1/b"))
    both = cli("check", "routes/", "routes/a.yml", "routes/deep")
    assert (both.returncode, both.stdout, both.stderr) == (0, "2 routes: all right.\n", "")
    empty = cli("check", "wsdl")
    assert (empty.returncode, empty.stderr) == (1, "wsdl: the folder holds no spec file (.yml, .yaml, .json)\n")


def test_check_tells_faults_of_grammar_and_of_binding_together(cli: Any, home: Path) -> None:
    soap = SPEC.replace("passthrough}", "soap, soap: {wsdl: none.wsdl}}").replace("/{id}", "")
    (home / "a.yml").write_text(soap + f"rate_limt: {{rps: 1}}\ntimeout: soon\n---\n{SPEC}---\n{soap}")
    (home / "b.yml").write_text("route: [")
    (home / "c.yml").write_text(SPEC.replace("passthrough", "soup"))
    (home / "d.yml").write_text(
        SPEC.replace("/v1/a/{id}", "v1/a").replace("passthrough}", "soap, soap: {wsdl: x.wsdl}}")
    )
    (home / "e.yml").write_text(SPEC + "weekday: red\n")
    lines = cli("check", "a.yml", "b.yml", "c.yml", "d.yml", "e.yml").stderr.splitlines()
    assert lines[0].startswith("a.yml:6: timeout: 'soon' is no duration")
    assert lines[1] == "a.yml:5: rate_limt: unknown key; did you mean 'rate_limit'?"
    for line, file in ((lines[2], "none.wsdl"), (lines[3], "none.wsdl"), (lines[7], "x.wsdl")):
        assert re.match(rf"(\S+: )?.*{file}.*: ", line)
    assert lines[4].startswith("b.yml:1: it is not YAML")
    assert lines[5].startswith("c.yml:4: transform.request: no transformer is named 'soup'")
    assert lines[6].startswith("d.yml:1: route: ")
    assert lines[8] == "e.yml:5: weekday: unknown key"
    assert len(lines) == 9


DOTTED = """\
route: /v1/a
upstream: svc:80
auth: {type: none}
transform:
  request: soap
  soap:
    wsdl: vat.wsdl
    headers:
      Plain: 1
      My.Block: 2
"""


def test_a_key_with_a_dot_is_named_with_its_line(cli: Any, home: Path) -> None:
    (home / "wsdl/vat.wsdl").write_text((Path(__file__).parents[1] / "bridge_soap/wsdl/vat.wsdl").read_text())
    (home / "a.yml").write_text(DOTTED.replace("      Plain: 1\n", ""))
    key = 'transform.soap.headers["My.Block"]'
    reason = "no element of that name is in the contract, or shipped with the gateway"
    bound = cli("check", "a.yml")
    assert bound.stderr == f"a.yml:9: {key}: {reason}\n"
    assert json.loads(cli("check", "a.yml", "--json").stdout)["problems"] == [
        {"file": "a.yml", "line": 9, "key": key, "reason": reason}
    ]
    (home / "a.yml").write_text(DOTTED.replace("My.Block: 2", 'My.Block: {id: "\\x01"}'))
    assert cli("check", "a.yml").stderr == f"a.yml:10: {key}.id: it holds the control character U+0001\n"


def test_routes(cli: Any, home: Path) -> None:
    (home / "routes/a.yml").write_text(SPEC)
    (home / "routes/b.yml").write_text(SPEC.replace("/v1/a/{id}", "/v1/b"))
    assert [row["path"] for row in json.loads(cli("routes", "--json").stdout)] == ["/v1/a/{id}", "/v1/b"]
    assert cli("routes", "v1/B").stdout.split("\t")[2] == "/v1/b"
    (home / "routes/c.yml").write_text("x: 1\n")
    broken = cli("routes")
    assert broken.returncode == 1
    assert len(broken.stdout.splitlines()) == 2
    assert "routes/c.yml:1: x: unknown key" in broken.stderr


def test_routes_and_check_tell_of_a_route_s_end(cli: Any, home: Path) -> None:
    (home / "routes/a.yml").write_text(
        SPEC + "deprecated: 2026-07-01\nsunset: {date: 2020-01-01, link: 'https://a.example'}\ntags: [Old, Tallies]\n"
    )
    refused = cli("check")
    assert refused.returncode == 1
    assert "sunset: it is 2020-01-01, before the route is deprecated (2026-07-01)" in refused.stderr
    text = (home / "routes/a.yml").read_text()
    (home / "routes/a.yml").write_text(text.replace("2026-07-01", "2019-07-01"))
    (home / "routes/b.yml").write_text(SPEC.replace("/v1/a/{id}", "/v1/b") + "deprecated: true\n")
    (home / "routes/c.yml").write_text(SPEC.replace("/v1/a/{id}", "/v1/c"))
    rows = [line.split("\t") for line in cli("routes").stdout.splitlines()]
    assert [row[-3:] for row in rows] == [["2019-07-01", "2020-01-01", "Old, Tallies"], ["yes", "-", "-"], ["-"] * 3]
    assert json.loads(cli("routes", "tallies", "--json").stdout)[0]["sunset"] == "2020-01-01"
    checked = cli("check")
    assert checked.returncode == 0
    assert "routes/a.yml: sunset: it was on 2020-01-01, " in checked.stdout
    assert "routes/b.yml: deprecated: it has no date" in checked.stdout


def test_what_is_copied_from_the_table_of_routes_is_whole(environment: dict[str, str], home: Path) -> None:
    path = "/v1/a/path/that/is/longer/than/the/{terminal}/is/wide"
    (home / "routes/a-\x1b[2J.yml").write_text(SPEC.replace("/v1/a/{id}", path))
    command = [sys.executable, "-m", "bridge.cli.main", "routes"]
    with terminal(command, columns=40, env=environment, cwd=home) as screen:
        assert screen.wait_for_end() == 0
        assert f"file:a-\\x1b[2J.yml  *       {path}  *" in screen.screen


def test_openapi(cli: Any, home: Path) -> None:
    (home / "routes/a.yml").write_text(SPEC)
    assert list(json.loads(cli("openapi").stdout)["paths"]) == ["/v1/a/{id}"]


def test_explain_sends_nothing_and_masks(cli: Any, home: Path) -> None:
    (home / "routes/a.yml").write_text(SPEC.replace("passthrough", "xml, xml: {root: vote}"))
    shown = cli("explain", "POST /v1/a/7?x=1", "--json", '{"vote": {"county": "7", "password": "hush"}}')
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith("POST /v1/a/7?x=1  (to svc:80 by http)\n")
    assert "<county>7</county>" in shown.stdout
    assert "hush" not in shown.stdout
    nothing = cli("explain", "/v2")
    assert (nothing.returncode, nothing.stderr) == (1, "No route is published at this path.\n")
    wrong = cli("explain", "POST /v1/a/7", "--json", "{")
    assert wrong.returncode == 1
    assert "Traceback" not in wrong.stderr


LEDGER = """route: /v1/ledger
upstream: svc:80
auth: {type: none}
transform:
  request: soap
  soap:
    wsdl: ledger.wsdl
    operation: post
    security: {username: gate, password_env: BRIDGE_SECRET_LEDGER_PASSWORD}
    headers:
      AuthHeader:
        {user: {$header: X-User}, role: [{$env: BRIDGE_SECRET_LEDGER_ROLE}], level: {$env: BRIDGE_SECRET_LEDGER_LEVEL},
         mail: {$claim: m}}
      Ticket: {$file: secrets/ticket}
"""


def test_explain_masks_what_is_secret_whatever_its_name(cli: Any, home: Path) -> None:
    shutil.copy(WSDL_DIR / "ledger.wsdl", home / "wsdl")
    (home / "routes/ledger.yml").write_text(LEDGER)
    (home / "secrets").mkdir()
    (home / "secrets/ticket").write_text("ticket-<1>\n")
    environment = {
        "BRIDGE_SECRET_LEDGER_PASSWORD": "pass-1",
        "BRIDGE_SECRET_LEDGER_ROLE": "role-1",
        "BRIDGE_SECRET_LEDGER_LEVEL": "007",
    }
    body = '{"account": "ticket-<1>", "cents": 7}'
    call = ("explain", "POST /v1/ledger", "--json", body, "--header", "X-User: ada", "--claims", '{"m": "a@b"}')
    shown = cli(*call, **environment)
    assert shown.returncode == 0, shown.stderr
    for secret in ("pass-1", "role-1", ">7<", "ticket-"):
        assert secret not in shown.stdout
    for told in (":user>ada<", ":mail>a@b<", ":role>***<", ":level>***<", ":Ticket>***<", ":account>***<"):
        assert told in shown.stdout
    assert "X-User: it is required" in cli("explain", "POST /v1/ledger", "--json", body, **environment).stderr
    assert cli(*call[:-1], "[]", **environment).stderr == "--claims: it must be a JSON object\n"
    assert "is not written" in cli(*call, "--header", "nonsense", **environment).stderr
    assert cli("check", **environment).returncode == 0
    missing = cli("check")
    assert "routes/ledger.yml" in missing.stderr
    assert "BRIDGE_SECRET_LEDGER_PASSWORD" in missing.stderr or "BRIDGE_SECRET_LEDGER_ROLE" in missing.stderr


def test_token(cli: Any, home: Path) -> None:
    made = cli("token", "--role", "a", "--role", "b", "--tenant", "t", "--sub", "me", "--audience", "X", "--ttl", "2m")
    claims = jwt.decode(made.stdout.strip(), options={"verify_signature": False})
    assert (claims["roles"], claims["tenant"], claims["sub"], claims["aud"]) == (["a", "b"], "t", "me", "X")
    assert claims["exp"] - claims["iat"] == 120
    assert (home / ".bridge/local-issuer.pem").stat().st_mode & 0o777 == 0o600
    assert cli("token", "--ttl", "never").returncode == 1
    assert "local" in cli("token", BRIDGE_LOCAL_ISSUER="off").stderr


def test_keys(cli: Any) -> None:
    made = cli("key", "new", "--sub", "press", "--role", "reader", "--json")
    key = json.loads(made.stdout)
    listed = cli("key", "list").stdout
    assert key["id"] in listed
    assert key["key"] not in listed
    assert cli("key", "revoke", key["id"]).returncode == 0
    assert "revoked" in cli("key", "list").stdout
    assert cli("key", "revoke", "nobody").returncode == 1


def test_a_rotated_key(cli: Any) -> None:
    made = cli(
        "key", "new", "--sub", "press", "--role", "reader", "--ttl", "7d", "--label", "live", "--rps", "5", "--json"
    )
    key = json.loads(made.stdout)
    assert key["key"].startswith("hmsb_live_")
    rotated = json.loads(cli("key", "rotate", key["id"], "--overlap", "1h", "--json").stdout)
    old, new = sorted(json.loads(cli("key", "list", "--json").stdout), key=lambda entry: entry["id"] != key["id"])
    assert (old["replaced_by"], new["lineage"]) == (new["id"], old["id"]) == (rotated["id"], key["id"])
    assert {name: new[name] for name in ("subject", "roles", "limit", "by")} == {
        "subject": "press", "roles": ["reader"], "limit": {"rps": 5.0, "burst": None}, "by": "hms-bridge key",
    }  # fmt: skip
    assert f"replaced by {new['id']}" in cli("key", "list").stdout
    for words, reason in (
        (("rotate", key["id"]), f"was rotated before; the one that replaced it is {new['id']}"),
        (("rotate", "nobody"), "no key has the id 'nobody'"),
        (("rotate", new["id"], "--overlap", "31d"), "--overlap: it must be 30 days (30d) or less"),
        (("rotate", new["id"], "--overlap", "soon"), "--overlap: 'soon' is no duration"),
        (("new", "--sub", ""), "--sub: it must not be empty"),
        (("new", "--sub", "a", "--label", "Live"), "--label: it must be 1 to 12 lower-case letters"),
        (("new", "--sub", "a", "--scope", "a b"), "--scope: it must be ASCII without spaces"),
        (("new", "--sub", "a", "--tenant", "a b"), "--tenant: it must be of the form"),
    ):
        refused = cli("key", *words)
        assert (refused.returncode, reason in refused.stderr) == (1, True), refused.stderr


def test_a_key_with_a_limit_of_its_own(cli: Any) -> None:
    assert cli("key", "new", "--sub", "press", "--rps", "2.5", "--burst", "10").returncode == 0
    assert "2.5/s burst 10" in cli("key", "list").stdout
    for words, reason in (
        (("--burst", "10"), "--burst: it needs --rps"),
        (("--rps", "0"), "--rps: it must be greater than 0"),
        (("--rps", "1", "--burst", "0"), "--burst: it must be 1 or more"),
        (("--rps", "0.001", "--burst", "1000000000"), "--burst: a burst of 1000000000 would take longer"),
    ):
        refused = cli("key", "new", "--sub", "press", *words)
        assert (refused.returncode, reason in refused.stderr) == (1, True), refused.stderr


class Site:
    """Serves `files` on the loopback, and keeps the paths that were asked for."""

    def __init__(self) -> None:
        site = self
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append(self.path)
                body = site.files.get(self.path)
                self.send_response(200 if body is not None else 404)
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, format: str, *args: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.stop()


def test_a_url_that_a_command_names_may_lie_on_this_machine(cli: Any, home: Path, site: Site) -> None:
    site.files["/l.wsdl"] = (WSDL_DIR / "ledger.wsdl").read_bytes()
    url = f"http://127.0.0.1:{site.port}/l.wsdl"
    made = cli("import", "soap", url)
    assert made.returncode == 0, made.stderr
    # The gateway itself may not fetch it, which is told at once, with the two ways out.
    assert "save the WSDL and what it imports in wsdl/" in made.stderr
    assert "or set BRIDGE_FETCH_NETWORKS=127.0.0.1" in made.stderr
    (home / "routes/ledger.yml").write_text(made.stdout)
    refused = cli("check")
    assert refused.returncode == 1
    assert "127.0.0.1 leads only to addresses that are refused: 127.0.0.1 (loopback); BRIDGE_FETCH" in refused.stderr
    assert cli("check", BRIDGE_FETCH_NETWORKS="127.0.0.1").returncode == 0
    again = cli("import", "soap", url, BRIDGE_FETCH_NETWORKS="127.0.0.1")
    assert "BRIDGE_FETCH_NETWORKS" not in again.stderr


def test_what_such_a_url_gives_leads_nowhere_else(cli: Any, site: Site) -> None:
    other = Site()
    try:
        there = f"http://127.0.0.1:{other.port}/x"
        text = (WSDL_DIR / "ledger.wsdl").read_text()
        text = text.replace("<types>", f'<import namespace="urn:x" location="{there}"/><types>', 1)
        site.files["/l.wsdl"] = text.encode()
        made = cli("import", "soap", f"http://127.0.0.1:{site.port}/l.wsdl")
        assert "it lies on another host" in made.stderr
        assert other.asked == []
    finally:
        other.stop()


def test_importing_from_behind_authentication(cli: Any) -> None:
    half = cli("import", "soap", "https://h.example/x.wsdl", "--wsdl-user", "ada")
    assert (half.returncode, half.stderr) == (1, "wsdl_auth: it needs username and password_env, or bearer_env alone\n")
    missing = cli("import", "soap", "https://h.example/x.wsdl", "--wsdl-bearer-env", "BRIDGE_SECRET_NOPE")
    assert "the environment variable BRIDGE_SECRET_NOPE is not set" in missing.stderr


TALLY = """route: /tally
upstream: svc:80
auth: {type: none}
transform:
  request: grpc
  grpc:
    protos: [tally.proto]
    metadata:
      x-one: {$env: BRIDGE_SECRET_TALLY_ONE}
      x-two-bin: {$env: BRIDGE_SECRET_TALLY_TWO}
      x-three: with t-secret-1 in it
      x-user: {$claim: sub}
"""


def test_explain_masks_secrets_in_metadata(cli: Any, home: Path) -> None:
    (home / "protos").mkdir(exist_ok=True)
    (home / "protos/tally.proto").write_text(
        'syntax = "proto3"; package t; message M { string id = 1; } service S { rpc A(M) returns (M); }'
    )
    (home / "routes/tally.yml").write_text(TALLY)
    call = ("explain", "POST /tally/t.S/A", "--json", '{"id": "7"}', "--claims", '{"sub": "ada"}')
    shown = cli(*call, BRIDGE_SECRET_TALLY_ONE="t-secret-1", BRIDGE_SECRET_TALLY_TWO="c2VjcmV0LTI")
    assert shown.returncode == 0, shown.stderr
    for line in ("x-one: ***", "x-two-bin: ***", "x-three: with *** in it", "x-user: ada"):
        assert line in shown.stdout.splitlines()
    missing = cli(*call, BRIDGE_SECRET_TALLY_ONE="t-secret-1")
    assert "BRIDGE_SECRET_TALLY_TWO is not set" in missing.stderr
