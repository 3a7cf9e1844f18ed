"""`deploy/` judged by the tools of its kinds, and the wheel installed as users do: `make test-deploy`. Slow, so not a
part of `make test`. What `scripts/install-deploy-tools` could not get is skipped."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

DEPLOY = Path(__file__).parent.parent
ROOT = DEPLOY.parent
TOOLS = ROOT / ".deploy-tools"
CHART = DEPLOY / "helm/hms-bridge"
DOCKERFILE = DEPLOY / "Dockerfile"
#: Values that turn on whatever the chart can do.
EVERYTHING = {
    "routes": {"hello.yml": (DEPLOY / "compose/routes/hello.yml").read_text("utf-8")},
    "wsdl": {"a.wsdl": "<definitions/>"},
    "protos": {"a.proto": 'syntax = "proto3";'},
    "config": {"mesh.yml": "hello:8000: [hello:8000]\n", "issuers.yml": "[]", "secrets.yml": "{}"},
    "settings": {"BRIDGE_DRAIN": "30s", "BRIDGE_LOG_KEEP": 3},
    "env": [{"name": "BRIDGE_SECRET_A", "valueFrom": {"secretKeyRef": {"name": "a", "key": "a"}}}],
    "envFrom": [{"secretRef": {"name": "b"}}],
    "admin": {"port": 9999, "public": []},
    "tls": {"secretName": "certificate"},
    "persistence": {"enabled": True, "storageClass": "fast"},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "podLabels": {"team": "a"},
    "podAnnotations": {"note": "b"},
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "a", "operator": "Exists"}],
    "imagePullSecrets": [{"name": "pull"}],
    "replicaCount": 2,
}


def tool(name: str) -> str:
    """The path of a tool; the test is skipped without it."""
    for folder in (TOOLS / "venv/bin", TOOLS / "bin"):
        if (folder / name).exists():
            return str(folder / name)
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not here; scripts/install-deploy-tools says why")
    return path


def run(*command: object, **more: Any) -> str:
    """Standard output of `command`, which must end with 0."""
    done: subprocess.CompletedProcess[str] = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, check=False, timeout=1200, **more
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_dockerfile_is_linted() -> None:
    assert run(tool("hadolint"), "--failure-threshold", "info", DOCKERFILE) == ""


def test_the_compose_file_is_of_the_compose_specification() -> None:
    run(tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose/compose.yml")


def test_yaml_is_linted() -> None:
    rules = (
        "{extends: default, rules: {line-length: {max: 130}, document-start: disable, braces: {max-spaces-inside: 1}}}"
    )
    run(tool("yamllint"), "--strict", "-d", rules, DEPLOY / "compose", CHART / "values.yaml", CHART / "Chart.yaml")


def test_units_are_what_systemd_takes(tmp_path: Path) -> None:
    analyze = tool("systemd-analyze")
    for path in (DEPLOY / "systemd").iterdir():
        # The program is not installed here; whatever else is wrong is told.
        (tmp_path / path.name).write_text(
            path.read_text("utf-8").replace("/opt/hms-bridge/bin/hms-bridge", "/bin/true")
        )
    done = subprocess.run(
        [analyze, "verify", *map(str, tmp_path.iterdir())], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_service_is_confined(tmp_path: Path) -> None:
    analyze = tool("systemd-analyze")
    run(analyze, "security", "--offline=true", "--threshold=20", DEPLOY / "systemd/hms-bridge.service")


def rendered(values: Mapping[str, Any], folder: Path) -> list[dict[str, Any]]:
    """What Helm makes of the chart, judged by Kubernetes' own schemas where they are here."""
    (folder / "values.yaml").write_text(json.dumps(values))
    text = run(tool("helm"), "template", "gateway", CHART, "-f", folder / "values.yaml", "--kube-version", "1.32.0")
    (folder / "rendered.yaml").write_text(text)
    run(tool("kubernetes-validate"), "--strict", folder / "rendered.yaml")
    return [document for document in yaml.safe_load_all(text) if document]


def one(documents: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    [document] = [document for document in documents if document["kind"] == kind]
    return document


def test_the_chart_is_linted(tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text(json.dumps(EVERYTHING))
    run(tool("helm"), "lint", "--strict", "--kube-version", "1.32.0", CHART)
    run(tool("helm"), "lint", "--strict", "--kube-version", "1.32.0", "-f", tmp_path / "values.yaml", CHART)


def test_the_chart_with_its_defaults(tmp_path: Path) -> None:
    documents = rendered({}, tmp_path)
    container = one(documents, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    environ = {each["name"]: each["value"] for each in container["env"]}
    assert environ == {
        "BRIDGE_ADMIN_BIND": "0.0.0.0:9090",
        "BRIDGE_ADMIN_PUBLIC": "health",
        "BRIDGE_DRAIN": "30s",
        "BRIDGE_MESH": "static:config/mesh.yml",
    }
    assert container["readinessProbe"]["httpGet"] == {"path": "/-/health/ready", "port": "admin", "scheme": "HTTP"}
    mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
    assert mounts == ["/srv/bridge/.bridge", "/tmp", "/srv/bridge/config"]
    assert "ServiceMonitor" not in {document["kind"] for document in documents}


def test_the_chart_with_everything_turned_on(tmp_path: Path) -> None:
    documents = rendered(EVERYTHING, tmp_path)
    deployment = one(documents, "Deployment")["spec"]
    pod = deployment["template"]["spec"]
    container = pod["containers"][0]
    environ = {each["name"]: each.get("value") for each in container["env"]}
    assert environ["BRIDGE_ADMIN_PUBLIC"] == "none"
    assert environ["BRIDGE_TLS_CERT"] == "/etc/hms-bridge/tls/tls.crt"
    assert environ["BRIDGE_LOG_KEEP"] == "3"
    assert container["livenessProbe"]["httpGet"]["scheme"] == "HTTPS"
    assert deployment["strategy"] == {"type": "Recreate"}
    maps = {document["metadata"]["name"]: document["data"] for document in documents if document["kind"] == "ConfigMap"}
    assert maps["gateway-hms-bridge-routes"] == EVERYTHING["routes"]
    monitor = one(documents, "ServiceMonitor")["spec"]
    services = {document["metadata"]["name"]: document for document in documents if document["kind"] == "Service"}
    labels = services["gateway-hms-bridge-admin"]["metadata"]["labels"]
    assert monitor["selector"]["matchLabels"].items() <= labels.items()
    assert (
        not monitor["selector"]["matchLabels"].items() <= services["gateway-hms-bridge"]["metadata"]["labels"].items()
    )
    assert deployment["selector"]["matchLabels"].items() <= deployment["template"]["metadata"]["labels"].items()


def test_wrong_values_are_refused_by_name(tmp_path: Path) -> None:
    done = subprocess.run(
        [tool("helm"), "template", str(CHART), "--set", "admin.port=http"], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "/admin/port" in done.stderr


def test_the_commit_hooks_run() -> None:
    pre_commit = tool("pre-commit")
    run(pre_commit, "validate-config", ROOT / ".pre-commit-config.yaml")
    for hook in ("ruff-format", "ruff-check"):
        run(pre_commit, "run", hook, "--files", Path(__file__), cwd=ROOT)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The Dockerfile's steps, carried out here: where /opt/hms-bridge came to lie, and the image's environment."""
    root = tmp_path_factory.mktemp("image")
    text = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", DOCKERFILE.read_text("utf-8"), flags=re.MULTILINE))
    source, opt = root / "src", root / "opt"
    source.mkdir()
    opt.mkdir()
    environ: dict[str, str] = {}
    for line in text.splitlines():
        name, _, arguments = line.partition(" ")
        *sources, target = arguments.split() or [""]
        if name == "COPY" and "--from" not in arguments:
            for each in sources:
                place = root / target.lstrip("/") if target.startswith("/") else source / target
                if (ROOT / each).is_dir():
                    shutil.copytree(ROOT / each, place, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(ROOT / each, place)
        elif name == "RUN" and "pip install" in arguments:
            command = arguments.replace("/opt/", f"{opt}/").replace("python -m venv", f"{sys.executable} -m venv")
            run("sh", "-ec", command, cwd=source)
        elif name == "ENV":
            environ |= dict(pair.split("=", 1) for pair in arguments.split())
    return opt / "hms-bridge", environ


@pytest.fixture
def compose_home(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """The folder that compose.yml mounts, with a service `hello` on the loopback."""
    hello = subprocess.Popen(
        [
            sys.executable,
            "-u",
            "-m",
            "http.server",
            "0",
            "--bind",
            "127.0.0.1",
            "--directory",
            DEPLOY / "compose/hello",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert hello.stdout is not None
    match = re.search(r"port ([0-9]+)", hello.stdout.readline())
    assert match is not None
    shutil.copytree(DEPLOY / "compose/routes", tmp_path / "routes")
    (tmp_path / "config").mkdir()
    (tmp_path / "config/mesh.yml").write_text(f"hello:8000: ['127.0.0.1:{match[1]}']\n")
    yield tmp_path, match[1]
    hello.terminate()
    hello.wait()
    hello.stdout.close()


def read_only(home: Path) -> list[str]:
    """A command that runs another one with a read-only root, where only the gateway's own folder can be written; empty
    where we may not mount."""
    (home / ".bridge").mkdir()
    mounts = (
        'mount --make-rprivate / && mount --bind "$0" "$0" && mount -o remount,bind,ro / && ! touch /etc/x 2>/dev/null'
    )
    command = ["unshare", "-m", "sh", "-c", f'{mounts} && exec "$@"', str(home / ".bridge")]
    allowed = (
        shutil.which("unshare") and subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
    )
    return command if allowed else []


def test_the_image_serves_the_compose_files_route_on_a_read_only_root(
    image: tuple[Path, dict[str, str]], compose_home: Any
) -> None:
    opt, environ = image
    home, _ = compose_home
    path = f"{opt}/bin:/usr/sbin:/usr/bin:/bin"
    environ = {**environ, "PATH": path, "BRIDGE_HOME": str(home), "BRIDGE_MESH": "static:config/mesh.yml"}
    process = subprocess.Popen(
        [*read_only(home), opt / "bin/hms-bridge", "serve", "--port", "0"],
        env={**environ, "BRIDGE_ADMIN_BIND": "127.0.0.1:0"},
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    addresses: list[str] = []
    while len(addresses) < 2:
        addresses += re.findall(r"http://[0-9.:]+", json.loads(process.stderr.readline())["message"])
    url, pages = addresses
    with urllib.request.urlopen(f"{url}/hello/greeting.json") as answer:
        assert json.load(answer) == {"greeting": "Hello from behind the gateway."}
    for base in (url, pages):
        run(opt / "bin/python", opt / "healthcheck.py", env={"HEALTHCHECK_URL": f"{base}/-/health/ready"})
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert json.loads(out.splitlines()[0])["path"] == "/hello/greeting.json"  # the access log is on standard output
    assert sorted(path.name for path in home.iterdir()) == [".bridge", "config", "routes"]


def test_the_wheel_in_an_empty_environment(tmp_path: Path) -> None:
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, ROOT)
    [wheel] = tmp_path.glob("hms_bridge-*.whl")
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    pip = tmp_path / "venv/bin/pip"
    run(pip, "install", "-q", "--disable-pip-version-check", "-c", ROOT / "constraints.txt", wheel)
    home = tmp_path / "home"
    (home / "routes").mkdir(parents=True)
    shutil.copy(DEPLOY / "compose/routes/hello.yml", home / "routes")
    shutil.copy(DEPLOY / "compose/config/mesh.yml", home)
    environ = {"BRIDGE_HOME": str(home), "PATH": os.environ["PATH"]}
    command = tmp_path / "venv/bin/hms-bridge"
    assert "Usage: hms-bridge" in run(command, "--help", env=environ, cwd=home)
    assert "all right" in run(command, "check", env=environ, cwd=home)
    assert run(tmp_path / "venv/bin/pip", "check").strip() == "No broken requirements found."
    python = tmp_path / "venv/bin/python"
    run(command, "new-transformer", "edi", env=environ, cwd=tmp_path)
    run(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-e", "edi[dev]", cwd=tmp_path)
    assert "3 passed" in run(python, "-m", "pytest", "-q", cwd=tmp_path / "edi")
    run(python, "-m", "mypy", cwd=tmp_path / "edi")
    for arguments in (("check",), ("format", "--check")):
        run(python, "-m", "ruff", *arguments, cwd=tmp_path / "edi")
