"""What `deploy/` holds fits the gateway: settings, paths, ports and users, read from the files. The linters are run by
`make test-deploy`."""

from __future__ import annotations

import configparser
import json
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

import bridge
from bridge.config.settings import Settings, load
from bridge.config.specfile import read_text

ROOT = Path(bridge.__file__).parent.parent
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm/hms-bridge"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text("utf-8")


def yaml(path: Path) -> Any:
    return YAML(typ="safe").load(path)


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's: name and arguments, continued lines joined."""
    text = re.sub(r"\\\n\s*", "", "\n".join(line for line in DOCKERFILE.splitlines() if not line.startswith("#")))
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in text.splitlines() if line]


def test_every_variable_is_a_setting() -> None:
    known = {f"BRIDGE_{name.upper()}" for name in Settings.model_fields}
    for path in DEPLOY.rglob("*"):
        if path.is_file() and "tests" not in path.parts:
            named = set(re.findall(r"\bBRIDGE_[A-Z_]*[A-Z]\b", path.read_text("utf-8")))
            assert {name for name in named if not name.startswith("BRIDGE_SECRET")} <= known, path


def test_the_image_is_built_in_stages_and_runs_as_nobody() -> None:
    made = instructions()
    stages = [index for index, (name, _) in enumerate(made) if name == "FROM"]
    assert len(stages) == 2
    last = dict(made[stages[1] :])
    assert last["USER"] == "10001:10001"
    assert [name for name, _ in made[stages[1] :] if name == "USER"] == ["USER"]
    assert json.loads(last["ENTRYPOINT"]) == ["hms-bridge"]
    assert json.loads(last["CMD"])[:3] == ["serve", "--host", "0.0.0.0"]
    assert json.loads(last["VOLUME"]) == ["/srv/bridge/.bridge"]
    assert "healthcheck.py" in last["HEALTHCHECK"]
    assert "ADD" not in dict(made)
    # No compiler, no pip cache and no sources in what is shipped.
    copied = [arguments for name, arguments in made[stages[1] :] if name == "COPY"]
    assert copied == [
        "--from=build /opt/hms-bridge /opt/hms-bridge",
        "deploy/healthcheck.py /opt/hms-bridge/healthcheck.py",
    ]


def test_the_image_is_installed_as_the_install_page_says() -> None:
    [install] = [arguments for name, arguments in instructions() if name == "RUN" and "pip install" in arguments]
    assert re.search(r"pip install .*-c constraints\.txt \.$", install)
    assert "pip install -c constraints.txt ." in (ROOT / "docs/install.md").read_text("utf-8")


def test_what_the_image_copies_is_in_the_checkout_and_not_ignored() -> None:
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8").split()
    assert ignored[0] == "*"
    for name, arguments in instructions():
        if name == "COPY" and "--from" not in arguments:
            for source in arguments.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert f"!{source}" in ignored, source


def environment_of(dockerfile: list[tuple[str, str]]) -> dict[str, str]:
    pairs = " ".join(arguments for name, arguments in dockerfile if name == "ENV").split()
    return dict(pair.split("=", 1) for pair in pairs)


def test_the_settings_of_image_and_compose_file_are_valid() -> None:
    environ = environment_of(instructions())
    assert load(environ).log == "-"
    service = yaml(DEPLOY / "compose/compose.yml")["services"]["gateway"]
    settings = load(environ | service["environment"])
    assert str(settings.admin_bind) == "0.0.0.0:9090"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert settings.drain < float(service["stop_grace_period"].removesuffix("s"))
    targets = {volume["target"]: volume for volume in service["volumes"]}
    for path in (settings.path(settings.routes), settings.path("config")):
        assert targets[str(path)]["read_only"] is True
        assert (DEPLOY / "compose" / targets[str(path)]["source"]).is_dir()
    assert not targets[str(settings.state)].get("read_only")


def test_the_route_of_the_compose_file_is_a_spec_with_an_address() -> None:
    for path in (DEPLOY / "compose/routes").glob("*.yml"):
        [(spec, _)] = read_text(path.read_text("utf-8"))
        assert f"{spec.upstream.name}:{spec.upstream.port}" in yaml(DEPLOY / "compose/config/mesh.yml")


class Unit(configparser.RawConfigParser):
    """A systemd unit; of a key that comes twice, the last value."""

    def __init__(self, name: str) -> None:
        super().__init__(strict=False, interpolation=None)
        self.read(DEPLOY / "systemd" / name, "utf-8")

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def seconds(text: str) -> float:
    return float(text.removesuffix("s"))


def test_the_unit_waits_for_readiness_and_for_calls_under_way() -> None:
    service = Unit("hms-bridge.service")["Service"]
    assert service["Type"] == "notify"
    assert "HUP" in service["ExecReload"]
    settings = load(dict(pair.split("=", 1) for pair in service["Environment"].split()))
    assert settings.drain < seconds(service["TimeoutStopSec"])
    assert str(settings.home) == service["WorkingDirectory"] == f"/var/lib/{service['StateDirectory']}"
    assert service["User"] not in ("", "root")
    for key, value in {"NoNewPrivileges": "yes", "ProtectSystem": "strict", "PrivateTmp": "yes"}.items():
        assert service[key] == value
    assert Unit("hms-bridge.socket")["Socket"]["ListenStream"] == service["ExecStart"].split()[-1]
    admin = Unit("hms-bridge-admin.socket")["Socket"]
    assert (admin["FileDescriptorName"], admin["Service"]) == ("admin", "hms-bridge.service")


def test_the_charts_values_are_as_its_schema_says() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    values = yaml(CHART / "values.yaml")
    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.validate(values, schema)
    assert schema["properties"].keys() - {"global"} == values.keys()
    for wrong in (
        {"replicas": 1},
        {"admin": {"port": "http"}},
        {"admin": {"public": ["metric"]}},
        {"routes": {"a": ""}},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)


def test_the_chart_names_only_values_that_there_are() -> None:
    values = yaml(CHART / "values.yaml")
    for path in (CHART / "templates").iterdir():
        for name in re.findall(r"\.Values\.([\w.]+)", path.read_text("utf-8")):
            place = values
            for part in name.split("."):
                assert part in place, f"{path.name}: {name}"
                place = place[part]


def test_the_charts_pod_is_confined_probed_and_has_time_to_end() -> None:
    values = yaml(CHART / "values.yaml")
    assert values["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    pod = values["podSecurityContext"]
    assert pod["runAsNonRoot"] is True
    assert f"{pod['runAsUser']}:{pod['runAsGroup']}" == dict(instructions())["USER"]
    settings = load(values["settings"] | {"BRIDGE_ADMIN_PUBLIC": ",".join(values["admin"]["public"])})
    assert settings.drain + 5 < values["terminationGracePeriodSeconds"]
    template = (CHART / "templates/deployment.yaml").read_text("utf-8")
    for probe, path in (("startup", "ready"), ("readiness", "ready"), ("liveness", "live")):
        assert re.search(rf"{probe}Probe:\n +httpGet: {{path: /-/health/{path}, port: admin", template)
    assert "enableServiceLinks: false" in template
    assert environment_of(instructions())["BRIDGE_HOME"] in template
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert version is not None
    assert yaml(CHART / "Chart.yaml")["appVersion"] == version[1]


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_health_check_ends_as_the_gateway_is(status: int, code: int) -> None:
    class Gateway(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/-/health/ready" else 404)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Gateway) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/-/health/ready"
        done = subprocess.run(
            [sys.executable, "-I", str(DEPLOY / "healthcheck.py")],
            env={"HEALTHCHECK_URL": url, "http_proxy": "http://127.0.0.1:1"},
            capture_output=True,
            text=True,
            check=False,
        )
        thread.join()
    assert (done.returncode, bool(done.stderr)) == (code, bool(code)), done.stderr
