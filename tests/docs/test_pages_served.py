"""The route specs of docs/spec.md, soap.md, grpc.md, xml.md, extend.md and plugins.md, and the services of the demo's
README.md: checked and served as written by a gateway in a process, with the contracts in their folders, and called as
the pages say."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from lxml import etree
from ruamel.yaml import YAML

from bridge.config.settings import load
from bridge.stages.auth.local_issuer import LocalIssuer
from tests.conftest import Recorded, Upstream
from tests.docs.pages import ROOT, Block, blocks_of
from tests.docs.served_contracts import Watched, etcd, write_contracts
from tests.docs.tables import code, table
from tests.servers import running
from tests.soap_kit import SOAP11, envelope

EXAMPLE = ROOT / "examples" / "election_night" / "README.md"
XML = [("content-type", "text/xml")]


def block(page: str, start: str) -> Block:
    """The block of a page that begins with `start`, or holds it."""
    [match] = [each for each in blocks_of(ROOT / "docs" / page) if start in each.text]
    return match


def part(page: str, start: str, *, route: str, upstream: str, auth: str = "none") -> str:
    """A spec around the part that a page shows: options of a transformer, or a key of routes."""
    text = block(page, start).text
    name = text.partition(":")[0]
    head = f"route: {route}\nupstream: {upstream}\nauth: {auth}\n"
    if name in ("retry", "compress", "deprecated"):
        return f"{head}{text}transform: {{request: passthrough}}\n"
    return f"{head}transform:\n  request: {name}\n{textwrap.indent(text, '  ')}"


def write_routes(folder: Path) -> None:
    routes = {
        "vat": block("spec.md", "wsdl: vat.wsdl").text,
        "retry": part("spec.md", "retry: {attempts", route="/retried", upstream="http-svc:80"),
        "compressed": part("spec.md", "compress: {min_size", route="/compressed", upstream="http-svc:80"),
        "old": part("spec.md", "deprecated: {since", route="/old", upstream="http-svc:80"),
        "returns": block("soap.md", "operation: GetCountyReturns").text,
        "ledger": part("soap.md", "wsdl: ledger.wsdl", route="/ledger", upstream="ledger-svc:8080", auth="{type: JWT}"),
        "orders": part("soap.md", "wsdl: orders.wsdl", route="/orders", upstream="http-svc:80"),
        "ballots": block("grpc.md", "election/v1/ballots.proto]").text,
        "counts": part("grpc.md", "selector: election", route="/tally", upstream="grpc://ballot-count:50051"),
        "watch": part("grpc.md", "protos: [rpc.proto]", route="/", upstream="grpc://etcd:2379"),
        "permits": block("xml.md", "route: /v1/permits/{id}").text,
        "results": block("xml.md", "route: /v1/results/{race}").text,
        "scans": "route: /scans\nupstream: http-svc:80\nauth: none\n"
        "transform: {request: soap, soap: {wsdl: scans.wsdl, operation: store}}\n",
        "goods": "route: /goods\nupstream: http-svc:80\nauth: none\n"
        "transform: {request: soap, soap: {wsdl: goods.wsdl, operation: Check}}\n",
        "canned": "route: /canned\nupstream: canned://hill:80\nauth: none\ntransform: {request: by_canned}\n",
        "smoke": "route: /smoke\nupstream: smoke://hill:80\nauth: none\ntransform: {request: by_smoke}\n",
    }
    (folder / "routes").mkdir()
    for name, text in routes.items():
        (folder / "routes" / f"{name}.yml").write_text(text)


# --- the plug-ins of docs/extend.md ----------------------------------------------------------------------------------

BY_TRANSPORT = """
from bridge.api import Call, HttpReply, HttpRequest, Operation, OperationDoc, Options, Reply
from canned_transport import Canned


class Smoke(Canned):
    name = "smoke"


class Codec:
    def request(self, call):
        return HttpRequest("GET", "/answers")

    def reply(self, call, inbound):
        return Reply(200, inbound.headers, inbound.body)


class ByCanned:
    name, wire, options = "by_canned", "canned", Options

    async def open(self, context): ...

    async def bind(self, route, options):
        doc = OperationDoc({"responses": {"200": {"description": "What was asked for."}}})
        return [Operation("ask", "GET", "", Codec(), lambda: doc)]

    async def aclose(self): ...


class BySmoke(ByCanned):
    name, wire = "by_smoke", "smoke"
"""


BY = {"by_canned": "ByCanned", "by_smoke": "BySmoke"}
ENTRY_POINT = r'\[project\.entry-points\."(bridge\.(?:fronts|transports))"\]\n(.+\n)'


def install(site: Path) -> None:
    """The modules of the page and its entry points, as ``pip install`` leaves them."""
    site.mkdir()
    (site / "json_sequence.py").write_text(block("extend.md", "class JsonSequence").text)
    (site / "canned_transport.py").write_text(block("extend.md", "class CannedChannel").text)
    (site / "smoke_package.py").write_text(BY_TRANSPORT)
    info = site / "pages-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pages\nVersion: 0.1\n")
    groups: dict[str, list[str]] = {"bridge.transformers": []}
    for page in ("extend.md", "plugins.md"):
        for each in blocks_of(ROOT / "docs" / page):
            if match := re.fullmatch(
                r'\[project\.entry-points\."(bridge\.(?:fronts|transports))"\]\n(.+\n)', each.text
            ):
                groups.setdefault(match[1], []).append(match[2].replace('"', ""))
    groups["bridge.transformers"] = [f"{name} = smoke_package:{kind}\n" for name, kind in BY.items()]
    assert [len(lines) for lines in groups.values()] == [2, 1, 2]
    text = "".join(f"[{group}]\n{''.join(lines)}" for group, lines in groups.items())
    (info / "entry_points.txt").write_text(text)


# --- the site --------------------------------------------------------------------------------------------------------


@dataclass
class Site:
    """A gateway process, its folder, a client, and the services behind it."""

    folder: Path
    client: httpx.AsyncClient
    upstream: Upstream
    watched: Watched
    idp: ec.EllipticCurvePrivateKey

    def bearer(self, *, roles: tuple[str, ...] = (), audience: str = "", **claims: Any) -> dict[str, str]:
        token = LocalIssuer.open(load({}, home=self.folder)).mint("rae", roles, audience=audience, **claims)
        return {"authorization": f"Bearer {token}"}

    def of_idp(self, audience: str) -> dict[str, str]:
        now = int(time.time())
        claims = {"iss": "https://idp.example", "sub": "rae", "aud": audience, "iat": now, "exp": now + 600}
        token = jwt.encode(claims, self.idp, algorithm="ES256", headers={"kid": "k"})
        return {"authorization": f"Bearer {token}"}


def environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BRIDGE_")}
    return {
        **kept,
        "PATH": f"{Path(sys.executable).parent}:{kept['PATH']}",
        "PYTHONPATH": str(folder / "site"),
        "NO_COLOR": "1",
        "COLUMNS": "200",
        "BRIDGE_SECRET_LEDGER_KEY": "ledger-key",
        "BRIDGE_SECRET_ORDERS_KEY": "orders-key",
    }


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment(folder), capture_output=True, text=True, check=False
    )


def parts_one_by_one(folder: Path) -> list[str]:
    """The commands of the demo's README, from a folder that has the example, on free ports and as one process each."""
    (folder / "examples").symlink_to(ROOT / "examples")
    [lines] = [each.text.splitlines() for each in blocks_of(EXAMPLE) if each.language == "sh"]
    commands = []
    for line in lines:
        command = re.sub(r"--port \d+ &$", "--port 0", line).replace(".venv/bin/python", sys.executable)
        command = command.replace(".venv/bin/hms-bridge serve", "hms-bridge serve --port 0")
        commands.append(f"cd {folder} && exec {command}")
    return commands


@contextmanager
def served(command: str, folder: Path) -> Iterator[str]:
    """The gateway's URL."""
    process = subprocess.Popen(
        ["bash", "-c", command],
        cwd=folder,
        env=environment(folder),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr
        told = []
        for line in process.stderr:
            told.append(line)
            if "HMS Bridge serves" in line:
                break
        else:
            raise AssertionError("".join(told))
        yield re.findall(r"http://\S+", told[-1])[-1]
    finally:
        process.terminate()
        process.communicate(timeout=60)


@asynccontextmanager
async def site(folder: Path, upstream: Upstream) -> AsyncIterator[Site]:
    write_contracts(folder)
    write_routes(folder)
    install(folder / "site")
    (folder / "secrets.yml").write_text(block("spec.md", "# secrets.yml").text)
    idp = ec.generate_private_key(ec.SECP256R1())
    key = {**ECAlgorithm.to_jwk(idp.public_key(), as_dict=True), "kid": "k", "alg": "ES256", "use": "sig"}
    (folder / "keys.json").write_text(json.dumps({"keys": [key]}))
    (folder / "issuers.yml").write_text("- {issuer: https://idp.example, jwks_file: keys.json}\n")
    with ExitStack() as stack:
        watched, etcd_port = stack.enter_context(etcd(folder / "protos"))
        ports = {"etcd": etcd_port, "hill": 9}
        *services, serve = parts_one_by_one(folder)
        for name, command in zip(("county-returns", "ballot-count", "results-feed"), services, strict=True):
            (own := folder / "services" / name).mkdir(parents=True)
            ports[name] = stack.enter_context(running(name, ["bash", "-c", command], own, ready=r"ready (\d+)")).port
        http = ("http-svc", "vat-svc", "ledger-svc", "permits-svc", "feed-svc")
        ports |= dict.fromkeys(http, upstream.port)
        (folder / "mesh.yml").write_text(json.dumps({name: [f"127.0.0.1:{port}"] for name, port in ports.items()}))
        done = shell("hms-bridge check", folder)
        count = len(list((folder / "routes").iterdir()))
        *needs, last = done.stdout.splitlines()
        assert (done.returncode, last) == (0, f"{count} routes: all right."), done.stdout + done.stderr
        assert all(": callers need " in line for line in needs)
        url = stack.enter_context(served(serve, folder))
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:
            yield Site(folder, client, upstream, watched, idp)


async def test_the_specs_of_the_reference_pages(tmp_path: Path, upstream: Upstream) -> None:
    async with site(tmp_path, upstream) as running:
        for page in (spec_vat, spec_retry, spec_compress, spec_lifecycle, spec_secrets, soap_returns, soap_problem,
                     soap_headers, soap_shape, soap_attachments, grpc_ballots, grpc_rules, grpc_events, grpc_streams,
                     xml_permits, xml_results, extend_front, extend_transports):  # fmt: skip
            upstream.seen.clear()
            upstream.status, upstream.headers, upstream.answer = 200, XML, None
            await page(running)


# --- docs/spec.md ----------------------------------------------------------------------------------------------------


async def spec_vat(site: Site) -> None:
    """Host, issuer, audience, rate limit, cache and parameters of the first example."""
    site.upstream.body = envelope(
        '<checkVatResponse xmlns="urn:revenue:vat:types"><countryCode>AT</countryCode><vatNumber>U1</vatNumber>'
        "<requestDate>2026-11-03</requestDate><valid>true</valid></checkVatResponse>"
    )
    get, public = site.client.get, {"host": "revenue.api.example"}
    headers = public | site.of_idp("REVENUE_PUBLIC")
    for _ in range(2):  # cache: {ttl: 5s}
        answer = await get("/v1/vat/AT/U1", headers=headers)
        assert answer.json() == {"countryCode": "AT", "vatNumber": "U1", "requestDate": "2026-11-03", "valid": True}
        for name in ("RateLimit", "RateLimit-Policy", "X-RateLimit-Limit", "X-RateLimit-Remaining"):
            assert name in answer.headers
        assert "100" in answer.headers["X-RateLimit-Limit"]
    [seen] = site.upstream.seen
    assert b"countryCode>AT<" in seen.body
    assert (await get("/v1/vat/AT/U1", headers=site.of_idp("REVENUE_PUBLIC"))).status_code == 404
    assert (await get("/v1/vat/AT/U1", headers=public)).status_code == 401
    assert (await get("/v1/vat/AT/U1", headers=public | site.of_idp("OTHER"))).status_code in (401, 403)
    assert (await site.client.post("/v1/vat/AT/U1", headers=headers)).status_code == 405


async def spec_retry(site: Site) -> None:
    """attempts: 3, on: [503]; a call that the service may have processed is sent again only if it is idempotent."""
    statuses = [503, 503, 200, 503, 502]

    async def answer(request: Recorded) -> tuple[int, list[tuple[str, str]], bytes]:
        return statuses.pop(0), [("content-type", "text/plain")], b"x"

    site.upstream.answer = answer
    assert (await site.client.get("/retried")).status_code == 200
    assert len(site.upstream.seen) == 3
    assert (await site.client.post("/retried", content=b"x")).status_code == 502
    assert (await site.client.get("/retried")).status_code == 502  # 502 is not in the list
    assert len(site.upstream.seen) == 5


async def spec_compress(site: Site) -> None:
    """min_size: 2k, types: JSON and text, codings: [gzip]."""
    for kind, size, accept, coding in (
        ("application/json", 2048, "zstd, gzip", "gzip"),
        ("application/json", 2047, "zstd, gzip", ""),
        ("application/problem+json", 2048, "gzip", "gzip"),
        ("text/plain", 2048, "gzip", "gzip"),
        ("application/javascript", 2048, "gzip", ""),
        ("application/json", 2048, "zstd", ""),
    ):
        site.upstream.headers, site.upstream.body = [("content-type", kind)], b"x" * size
        answer = await site.client.get("/compressed", headers={"accept-encoding": accept})
        assert answer.headers.get("content-encoding", "") == coding, (kind, size, accept)
        assert answer.content == site.upstream.body


async def spec_lifecycle(site: Site) -> None:
    """The fields of each key, as the table below the block has them."""
    rows = table("docs/spec.md", "`deprecated` and `sunset`")
    shown = sorted(tuple(code(row[2])[0].partition(": ")[::2]) for row in rows)
    answer = await site.client.get("/old")
    assert (
        sorted((name, value) for name in {name for name, _ in shown} for value in answer.headers.get_list(name))
        == shown
    )
    for row in rows:
        [short] = code(row[1]) or [""]
        assert not short or short.partition(": ")[2] in block("spec.md", "deprecated: {since").text


async def spec_secrets(site: Site) -> None:
    """A registered route sends a secret where secrets.yml binds it, and nowhere else."""
    spec = YAML(typ="safe").load((site.folder / "routes" / "ledger.yml").read_text())
    publisher = site.bearer(roles=("api_publisher",))
    spec["route"] = "/registered"
    answer = await site.client.post("/register", json=spec, headers=publisher)
    assert answer.status_code == 201, answer.text
    spec |= {"route": "/elsewhere", "upstream": "http-svc:80"}
    answer = await site.client.post("/register", json=spec, headers=publisher)
    assert answer.status_code in (400, 403, 422)
    assert "secret: BRIDGE_SECRET_LEDGER_KEY" in answer.text
    assert "http-svc:80" in answer.text


# --- docs/soap.md ----------------------------------------------------------------------------------------------------


async def soap_returns(site: Site) -> None:
    headers = site.bearer(audience="ELECTION_PUBLIC")
    answer = await site.client.get("/v1/returns/91001", headers=headers)
    assert answer.json()["returns"]["countyFips"] == "91001"
    assert (await site.client.get("/v1/returns/99999", headers=headers)).json()["fault"]["code"] == "Client"


async def soap_problem(site: Site) -> None:
    """All faults of a body at once, as the example shows them; nothing is sent."""
    shown = json.loads(block("soap.md", "urn:bridge:problem:invalid-body").text)
    body = {"order": {"line": [{"sku": "a", "qty": 100}, {"qty": 1}], "colour": "red"}}
    answer = (await site.client.post("/goods", json=body)).json()
    assert {**answer, "errors": 0} == {**answer, **shown, "errors": 0}
    assert sorted(map(str, answer["errors"])) == sorted(map(str, shown["errors"]))
    assert site.upstream.seen == []


def sent(site: Site) -> etree._Element:
    [seen] = site.upstream.seen
    root = etree.fromstring(seen.body)
    for element in root.iter("*"):
        element.tag = etree.QName(element).localname
    return root


async def soap_headers(site: Site) -> None:
    session = '<h:Session xmlns:h="urn:ledger:headers"><h:sessionId>s-1</h:sessionId></h:Session>'
    info = '<h:TransactionInfo xmlns:h="urn:ledger:headers"><h:id>7</h:id></h:TransactionInfo>'
    site.upstream.body = (
        f'<s:Envelope xmlns:s="{SOAP11}"><s:Header>{session}{info}</s:Header>'
        '<s:Body><posted xmlns="urn:ledger"><entry>1</entry></posted></s:Body></s:Envelope>'
    ).encode()
    body = json.loads(block("soap.md", '"#headers": {"TransactionInfo"').text)
    answer = await site.client.post("/ledger/post", json=body, headers=site.bearer())
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"entry": 1, "#headers": {"TransactionInfo": {"id": "7", "step": []}}}
    assert answer.headers["x-session-id"] == "s-1"
    root = sent(site)
    header, block_ = root[0], root[0][0]
    assert [child.tag for child in header] == ["AuthHeader", "TransactionInfo"]
    assert block_.get(f"{{{SOAP11}}}mustUnderstand") == "1"
    assert [(child.tag, child.text) for child in block_] == [("user", "rae"), ("key", "ledger-key"), ("branch", "001")]
    assert header[1][0].text == "7"
    assert [child.text for child in root[1][0]] == ["a", "5"]
    site.upstream.seen.clear()
    await site.client.post("/ledger/post", json=body, headers=site.bearer() | {"X-Branch": "042"})
    assert sent(site)[0][0].findtext("branch") == "042"
    del body["#headers"]
    assert (await site.client.post("/ledger/post", json=body)).status_code == 401


async def soap_shape(site: Site) -> None:
    site.upstream.body = envelope(
        '<PlaceOrderResponse xmlns="urn:t"><Result><OrderNo>77</OrderNo></Result></PlaceOrderResponse>'
    )
    value = {"lines": [{"position": 1, "code": "a"}, {"code": "b"}], "weight": "1.5", "@unit": "kg"}
    answer = await site.client.post("/orders", json=value)
    assert answer.json() == {"number": "77"}, answer.text
    header, order = sent(site)[-1][0]
    assert [child.text for child in header] == ["2.1", "orders-key"]
    assert order.findtext("Currency") == "EUR"
    assert [(line.get("pos"), line.findtext("Sku")) for line in order.findall("Line")] == [("1", "a"), (None, "b")]
    assert [(each.text, each.get("unit")) for each in order.findall("Weight")] == [("1.5", "kg")]
    refused = await site.client.post("/orders", json={**value, "Version": "3"})
    assert refused.json()["errors"] == [{"pointer": "/Version", "reason": "it is set by the route"}]


async def soap_attachments(site: Site) -> None:
    """The page cuts the pictures short with an ellipsis."""
    value = json.loads(re.sub(r'([A-Za-z0-9+/]+)…"', _whole, block("soap.md", '"#attachments": {"front": "iVBOR').text))
    await site.client.post("/scans", json=value)
    [seen] = site.upstream.seen
    for name, kind, start in (("front", "image/png", b"\x89PN"), ("back", "image/jpeg", b"\xff\xd8\xff")):
        head, _, body = seen.body.partition(f"<{name}=".encode())[2].partition(b"\r\n\r\n")
        assert body.startswith(start), (name, head)
        assert kind.encode() in seen.body


def _whole(match: re.Match[str]) -> str:
    return f'{match[1][: len(match[1]) // 4 * 4]}"'


# --- docs/grpc.md ----------------------------------------------------------------------------------------------------


async def grpc_ballots(site: Site) -> None:
    headers = site.bearer(audience="ELECTION_OFFICE")
    answer = await site.client.get("/v1/ballots/91001", headers=headers)
    assert answer.json()["countyFips"] == "91001"
    automatic = await site.client.post(
        "/v1/ballots/election.v1.BallotCount/GetCount", json={"countyFips": "91001"}, headers=headers
    )
    assert automatic.json() == answer.json()
    problem = (await site.client.get("/v1/ballots/0", headers=headers)).json()
    shown = json.loads(block("grpc.md", '"reason": "NO_COUNTY"').text)
    assert shown.keys() <= problem.keys()
    assert (shown["type"], shown["status"]) == (problem["type"], problem["status"])
    assert shown["detail"] == shown["grpc"]["message"]
    assert problem["detail"] == problem["grpc"]["message"]
    assert shown["grpc"].keys() == problem["grpc"].keys()
    assert {**shown["grpc"], "message": "", "details": []} == {**problem["grpc"], "message": "", "details": []}
    [ours], [theirs] = shown["grpc"]["details"], problem["grpc"]["details"]
    assert ours["@type"] == theirs["@type"]
    assert ours.keys() <= theirs.keys()


async def grpc_rules(site: Site) -> None:
    """The rules beside the service's own schema, which is asked by reflection."""
    one = (await site.client.get("/tally/counts/91001")).json()
    assert one["countyFips"] == "91001"
    assert (await site.client.post("/tally/counts:search", json={"countyFips": "91001"})).json() == one
    assert (await site.client.get("/tally/v1/ballots/91001")).status_code == 404  # the annotation is replaced
    assert len((await site.client.get("/tally/v1/ballots")).json()["counts"]) > 1


async def grpc_events(site: Site) -> None:
    """Events with the ids of the spec; a client goes on from the last one."""
    headers = {"accept": "text/event-stream"}
    lines = (await site.client.get("/keys/YQ==/events", headers=headers)).text.splitlines()
    assert [line for line in lines if line.startswith("id:")] == ["id: 7", "id: 8"]
    assert "retry: 3000" in lines
    assert lines.index("retry: 3000") < lines.index("id: 7")
    assert "event: end" in lines
    lines = (await site.client.get("/keys/YQ==/events", headers=headers | {"last-event-id": "8"})).text.splitlines()
    assert [line for line in lines if line.startswith("id:")] == ["id: 8", "id: 9"]
    assert site.watched.asked == [0, 8]


async def grpc_streams(site: Site) -> None:
    """What ``Accept`` names is what comes."""
    message = {"events": [{"kv": {"modRevision": "7"}}]}
    following = {"events": [{"kv": {"modRevision": "8"}}]}

    async def post(accept: str) -> httpx.Response:
        answer = await site.client.post("/v3/watch", json={"createRequest": {}}, headers={"accept": accept})
        assert answer.status_code == 200, answer.text
        return answer

    for accept in ("application/x-ndjson", "application/ndjson", "application/jsonl", "*/*"):
        assert [json.loads(line) for line in (await post(accept)).text.splitlines()] == [message, following]
    assert (await post("application/json")).json() == [message, following]
    assert (await post("text/event-stream")).headers["content-type"].startswith("text/event-stream")
    refused = await site.client.post("/v3/watch", json={}, headers={"accept": "image/png"})
    assert refused.status_code == 406


# --- docs/xml.md -----------------------------------------------------------------------------------------------------


async def xml_permits(site: Site) -> None:
    site.upstream.body = b'<permit id="7"><name>a</name></permit>'
    headers = site.bearer(audience="PERMITS") | {"x-own": "yes"}
    answer = await site.client.request("PATCH", "/v1/permits/7?a=b%20c&a", content=b"\x00x", headers=headers)
    assert answer.json() == {"permit": {"@id": "7", "name": "a"}}
    [seen] = site.upstream.seen
    assert (seen.method, seen.target, seen.body) == ("PATCH", "/v1/permits/7?a=b%20c&a", b"\x00x")
    assert seen.header("x-own") == ["yes"]
    assert seen.header("authorization") == []


async def xml_results(site: Site) -> None:
    site.upstream.body = b"<results><candidate>a</candidate></results>"
    answer = await site.client.put("/v1/results/governor", json={"candidate": ["a", 1.50], "final": True})
    assert answer.json() == {"results": {"candidate": ["a"]}}
    [seen] = site.upstream.seen
    assert (seen.method, seen.target, seen.header("content-type")) == ("PUT", "/feed/governor", ["text/xml"])
    root = etree.fromstring(seen.body)
    assert root.tag == "{urn:state:results}results"
    assert [child.text for child in root] == ["a", "1.5", "true"]


# --- docs/extend.md --------------------------------------------------------------------------------------------------


async def extend_front(site: Site) -> None:
    answer = await site.client.post("/v3/watch", json={"createRequest": {}}, headers={"accept": "application/json-seq"})
    assert answer.headers["content-type"] == "application/json-seq"
    first, *rest = answer.text.split("\x1e")
    assert first == ""
    assert [json.loads(text)["events"][0]["kv"]["modRevision"] for text in rest] == ["7", "8"]


async def extend_transports(site: Site) -> None:
    for path in ("/canned", "/smoke"):
        answer = await site.client.get(path)
        assert (answer.status_code, answer.text) == (200, "/answers")
    assert site.upstream.seen == []
