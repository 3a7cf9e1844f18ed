"""Somebody with an empty folder and a service: import, serve, and the printed curl gives JSON."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_reflection.v1alpha import reflection
from typer.testing import CliRunner, Result

from bridge.cli.main import app
from bridge_grpc.schema.compile_protos import compile_protos
from bridge_grpc.schema.pool import schema

WSDL = """<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
    xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:t="urn:tally" targetNamespace="urn:tally" name="Tally">
  <types><xs:schema><xs:import namespace="urn:tally" schemaLocation="{schema}"/></xs:schema></types>
  <message name="in"><part name="body" element="t:getTally"/></message>
  <message name="out"><part name="body" element="t:tally"/></message>
  <portType name="p"><operation name="getTally"><input message="t:in"/><output message="t:out"/></operation></portType>
  <binding name="b" type="t:p">
    <soap:binding style="document" transport="http://schemas.xmlsoap.org/soap/http"/>
    <operation name="getTally"><soap:operation soapAction=""/>
      <input><soap:body use="literal"/></input><output><soap:body use="literal"/></output></operation>
  </binding>
  <service name="Tally"><port name="p" binding="t:b"><soap:address location="{address}"/></port></service>
</definitions>"""
SCHEMA = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:tally" xmlns:t="urn:tally"
    elementFormDefault="qualified">
  <xs:include schemaLocation="{types}"/>
  <xs:element name="getTally"><xs:complexType><xs:sequence><xs:element name="county" type="xs:string"/>
    </xs:sequence></xs:complexType></xs:element>
  <xs:element name="tally" type="t:Tally"/>
</xs:schema>"""
TYPES = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:tally"
    elementFormDefault="qualified">
  <xs:complexType name="Tally"><xs:sequence><xs:element name="ballots" type="xs:int"/></xs:sequence></xs:complexType>
</xs:schema>"""
REPLY = (
    b'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><tally xmlns="urn:tally">'
    b"<ballots>4556</ballots></tally></s:Body></s:Envelope>"
)
PROTO = (
    'syntax = "proto3"; package tally.v1; import "{types}";\n'
    "service TallyService {{ rpc GetTally(Asked) returns (Tally); }}\n"
    "message Asked {{ string county = 1; }}\n"
)
PROTO_TYPES = 'syntax = "proto3"; package tally.v1;\nmessage Tally { int32 ballots = 1; }\n'
#: A curl for machines that have none: -X, -H, -d and a URL.
CURL = """#!{python}
import sys, urllib.error, urllib.request
words, fields, body, method = sys.argv[1:], {{}}, None, None
while len(words) > 1:
    option, value = words.pop(0), words.pop(0)
    if option == "-H":
        name, _, text = value.partition(": ")
        fields[name] = text
    elif option == "-d":
        body = value.encode()
    elif option == "-X":
        method = value
try:
    print(urllib.request.urlopen(urllib.request.Request(words[0], body, fields, method=method)).read().decode())
except urllib.error.HTTPError as error:
    print(error.read().decode())
"""

CHECKED = """\
routes/tally.yml: /v1/tally: callers need a bearer token (JWT) for the audience TALLY
1 route: all right.
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty folder."""
    (tmp_path / "empty").mkdir()
    return tmp_path / "empty"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A shell that finds ``hms-bridge`` and ``curl``, and has no setting of the gateway."""
    tools = tmp_path / "tools"
    tools.mkdir()
    if shutil.which("curl") is None:
        (tools / "curl").write_text(CURL.format(python=sys.executable))
        (tools / "curl").chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BRIDGE_")}
    path = os.pathsep.join([str(Path(sys.executable).parent), str(tools), kept["PATH"]])
    return {**kept, "PATH": path, "NO_COLOR": "1", "COLUMNS": "60"}


@pytest.fixture
def soap_service() -> Iterator[int]:
    """A SOAP service with its contract in three documents at ``/tally?wsdl``. It says that it lives somewhere else, as
    services behind a proxy do."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            documents = {
                "/tally?wsdl": WSDL.format(schema="tally?xsd=1", address="http://inner.tally.invalid/tally"),
                "/tally?xsd=1": SCHEMA.format(types="tally?xsd=2"),
                "/tally?xsd=2": TYPES,
            }
            text = documents.get(self.path)
            self._send(200 if text else 404, (text or "").encode())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert b"getTally" in body
            self._send(200, REPLY)

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("content-type", "text/xml")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def grpc_service(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """A gRPC service with reflection: its port, and its proto beside what that imports."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "tally.proto").write_text(PROTO.format(types="types.proto"))
    (folder / "types.proto").write_text(PROTO_TYPES)
    pool = schema(compile_protos(["tally.proto"], folder)).pool
    server = grpc.server(ThreadPoolExecutor(2))
    handler = grpc.unary_unary_rpc_method_handler(lambda request, context: b"\x08\xcc\x23")  # ballots: 4556
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("tally.v1.TallyService", {"GetTally": handler}),)
    )
    reflection.enable_server_reflection(("tally.v1.TallyService",), server, pool=pool)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port, folder / "tally.proto"
    server.stop(None).wait()


@pytest.fixture
def shell(home: Path, environment: dict[str, str]) -> Any:
    """``hms-bridge`` in a process of its own."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["hms-bridge", *words], cwd=home, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done

    return run


@pytest.fixture
def hms(home: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """``hms-bridge`` in this process, which is quicker."""
    monkeypatch.chdir(home)
    for name in list(os.environ):
        if name.startswith("BRIDGE_"):
            monkeypatch.delenv(name)

    def run(*words: str, code: int = 0) -> Result:
        done = CliRunner().invoke(app, words)
        assert done.exit_code == code, done.output
        return done

    return run


def paste(printed: str, served: Callable[..., Any], home: Path, environment: dict[str, str]) -> Any:
    """What the printed call answers, pasted into a shell while the gateway serves."""
    assert re.search(r"^  hms-bridge serve$", printed, re.MULTILINE)
    [line] = re.findall(r"^  (curl .*)$", printed, re.MULTILINE)
    gateway = served()
    line = line.replace("http://127.0.0.1:8080", gateway.url)
    done = subprocess.run(
        ["sh", "-c", line], cwd=home, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert gateway.stop()[0] == 0
    return json.loads(done.stdout)


def test_from_a_wsdls_url_to_json(
    shell: Any, soap_service: int, served: Any, home: Path, environment: dict[str, str]
) -> None:
    url = f"http://127.0.0.1:{soap_service}/tally?wsdl"
    done = shell("import", "soap", url, "-o", "routes/tally.yml")
    assert done.stdout == ""
    # The contract is saved with what it imports, so that the gateway need fetch nothing.
    assert sorted(str(path.relative_to(home / "wsdl")) for path in (home / "wsdl").rglob("*.*")) == [
        "tally.wsdl", "tally/tally-xsd-1.xsd", "tally/tally-xsd-2.xsd",
    ]  # fmt: skip
    assert "wsdl: tally.wsdl" in (home / "routes/tally.yml").read_text()
    assert f'["127.0.0.1:{soap_service}"]' in (home / "mesh.yml").read_text()
    assert paste(done.stderr, served, home, environment) == {"ballots": 4556}


def test_from_a_proto_to_json(
    shell: Any, grpc_service: tuple[int, Path], served: Any, home: Path, environment: dict[str, str]
) -> None:
    port, proto = grpc_service
    done = shell("import", "grpc", str(proto), "-o", "routes/tally.yml", "--address", f"127.0.0.1:{port}")
    assert sorted(path.name for path in (home / "protos").iterdir()) == ["tally.proto", "types.proto"]
    assert paste(done.stderr, served, home, environment) == {"ballots": 4556}


def test_from_a_live_server_to_json(
    shell: Any, grpc_service: tuple[int, Path], served: Any, home: Path, environment: dict[str, str]
) -> None:
    port, _ = grpc_service
    done = shell("import", "grpc", f"127.0.0.1:{port}", "-o", "routes/tally.yml")
    assert paste(done.stderr, served, home, environment) == {"ballots": 4556}


def test_a_contract_of_several_files_is_copied_from_where_it_lies(hms: Any, tmp_path: Path, home: Path) -> None:
    theirs = tmp_path / "theirs"
    (theirs / "wsdl").mkdir(parents=True)
    (theirs / "xsd").mkdir()
    (theirs / "wsdl/tally.wsdl").write_text(WSDL.format(schema="../xsd/tally.xsd", address="http://tally.invalid/"))
    (theirs / "xsd/tally.xsd").write_text(SCHEMA.format(types="types.xsd"))
    (theirs / "xsd/types.xsd").write_text(TYPES)
    hms("import", "soap", str(theirs / "wsdl/tally.wsdl"), "-o", "routes/tally.yml")
    shutil.rmtree(theirs)
    assert hms("check").stdout == CHECKED
    copies = {str(path.relative_to(home / "wsdl")) for path in (home / "wsdl").rglob("*.*")}
    assert copies == {"wsdl/tally.wsdl", "xsd/tally.xsd", "xsd/types.xsd"}


def test_another_contract_of_the_same_name_is_kept(hms: Any, tmp_path: Path, home: Path) -> None:
    (home / "wsdl").mkdir()
    (home / "wsdl/types.xsd").write_text("<other/>")
    (tmp_path / "tally.wsdl").write_text(WSDL.format(schema="tally.xsd", address="http://tally.invalid/"))
    (tmp_path / "tally.xsd").write_text(SCHEMA.format(types="types.xsd"))
    (tmp_path / "types.xsd").write_text(TYPES)
    hms("import", "soap", "../tally.wsdl", "-o", "routes/tally.yml")
    assert (home / "wsdl/types.xsd").read_text() == "<other/>"
    assert (home / "wsdl/tally/types.xsd").read_text() == TYPES
    assert hms("check").stdout == CHECKED


def test_nothing_is_overwritten_unless_it_is_forced(hms: Any, grpc_service: tuple[int, Path], home: Path) -> None:
    command = ("import", "grpc", f"127.0.0.1:{grpc_service[0]}", "-o", "routes/tally.yml")
    hms(*command)
    text = (home / "routes/tally.yml").read_text()
    (home / "routes/tally.yml").write_text("# mine\n" + text)
    refused = hms(*command, code=1)
    assert refused.stderr == "routes/tally.yml: it exists already; --force replaces it\n"
    assert (home / "routes/tally.yml").read_text() == "# mine\n" + text
    hms(*command, "--force")
    assert (home / "routes/tally.yml").read_text() == text
    assert "is a folder" in hms(*command[:-1], "routes", code=1).stderr


def test_an_import_that_fails_leaves_no_file(hms: Any, home: Path) -> None:
    hms("import", "soap", "none.wsdl", "-o", "routes/tally.yml", code=1)
    assert list(home.iterdir()) == []


def test_the_mesh_file_keeps_what_it_says(hms: Any, grpc_service: tuple[int, Path], home: Path) -> None:
    port, proto = grpc_service
    address = ("--address", f"127.0.0.1:{port}")
    (home / "mesh.yml").write_text("# mine\nother: 10.0.0.7")
    hms("import", "grpc", str(proto), "-o", "routes/a.yml", *address)
    text = (home / "mesh.yml").read_text()
    assert text == f'# mine\nother: 10.0.0.7\ntally-svc:50051: ["127.0.0.1:{port}"]\n'
    known = hms("import", "grpc", str(proto), "-o", "routes/a.yml", "--force", *address)
    assert (home / "mesh.yml").read_text() == text
    assert "mesh.yml" not in known.stderr
    moved = hms("import", "grpc", str(proto), "-o", "routes/a.yml", "--force", "--address", "10.0.0.9:50051")
    assert f"tally-svc:50051 is at 127.0.0.1:{port} already; write 10.0.0.9:50051 there" in moved.stderr
    assert (home / "mesh.yml").read_text() == text
    (home / "mesh.yml").write_text("{other: 10.0.0.7}\n")
    told = hms("import", "grpc", str(proto), "-o", "routes/a.yml", "--force", *address)
    assert f'tally-svc:50051: ["127.0.0.1:{port}"]' in told.stderr
    assert (home / "mesh.yml").read_text() == "{other: 10.0.0.7}\n"


def test_an_import_says_that_another_route_has_its_path(hms: Any, grpc_service: tuple[int, Path], home: Path) -> None:
    _, proto = grpc_service
    hms("import", "grpc", str(proto), "-o", "routes/b.yml")
    for name in ("a", "c"):  # one that is read before the other file, and one after
        done = hms("import", "grpc", str(proto), "-o", f"routes/{name}.yml")
        assert "It can't serve yet:" in done.stderr
        assert re.search(rf"published twice: by routes/b.yml and by routes/{name}.yml; change route in", done.stderr)
        (home / f"routes/{name}.yml").unlink()
    again = hms("import", "grpc", str(proto), "-o", "routes/b.yml", "--force")
    assert "It can't serve yet" not in again.stderr
