"""The commands of pages that no test of the page runs, each with its reason."""

from __future__ import annotations

_INDEX = "pip needs an index; deploy/tests/test_deploy.py builds the wheel and installs it in an empty environment"
_DOCKER = "needs Docker; deploy/tests/test_deploy.py builds the image's stages and serves with its settings"
_ROOT = "changes the machine, as root; deploy/tests/test_deploy.py has systemd verify the units"
_MEASURES = "measures for minutes to hours; test_reference_commands.py reads its options"
_TESTS = "it would run tests within a test; test_reference_commands.py asks make what it would do"
_HOOKS = "pip needs an index; test_contributing.py compares the hooks with make check"
_PLUG_IN = "pip needs an index; tests/cli/test_new_transformer.py does it without one, in an environment of its own"
_CLUSTER = "needs a cluster; deploy/tests/test_deploy.py renders the chart"

#: By page and by the command as the page has it, with its continuation lines joined.
NOT_RUN: dict[str, dict[str, str]] = {
    "README.md": {
        "make demo": "it installs from an index; tests/test_demo_terminal.py plays the demo, test_makefile.py installs",
        "make test     # every test, against real servers, in parallel": "it would run itself",
        "make test-slow  # long streams, large messages, the benchmarks": "takes minutes",
        "make check    # formatter, linter, type checkers": "a check of the code, not of the page",
        "make bench    # beside Envoy and others, then the codecs alone": "takes minutes",
        "make bare SUITE=trixie   # the demo and the tests in a bare Debian": "needs root, a mirror and minutes",
    },
    "docs/install.md": {
        "make demo": "as in README.md",
        "python3 -m venv bridge-env": _INDEX,
        "bridge-env/bin/pip install -c constraints.txt .": _INDEX,
        "python3 -m pip wheel --no-deps --wheel-dir dist .": _INDEX,
        "bridge-env/bin/pip install -c constraints.txt hms_bridge-*.whl": _INDEX,
        "docker build -f deploy/Dockerfile -t hms-bridge .": _DOCKER,
        "docker run --rm --read-only --tmpfs /tmp -p 8080:8080 -v hms-bridge-state:/srv/bridge/.bridge "
        '-v "$PWD/routes:/srv/bridge/routes:ro" hms-bridge': _DOCKER,
        "docker compose -f deploy/compose/compose.yml up --build --detach": _DOCKER,
        "sudo useradd --system --no-create-home --home-dir /var/lib/hms-bridge "
        "--shell /usr/sbin/nologin hms-bridge": _ROOT,
        "sudo python3 -m venv /opt/hms-bridge": _ROOT,
        "sudo /opt/hms-bridge/bin/pip install -c constraints.txt .": _ROOT,
        "sudo cp deploy/systemd/hms-bridge.service /etc/systemd/system/": _ROOT,
        "sudo systemctl daemon-reload": _ROOT,
        "sudo systemctl enable --now hms-bridge": _ROOT,
        "helm install gateway deploy/helm/hms-bridge --set image.repository=hms-bridge "
        "--set-file 'routes.hello\\.yml=deploy/compose/routes/hello.yml' "
        "--set-file 'config.mesh\\.yml=deploy/compose/config/mesh.yml'": _CLUSTER,
    },
    "docs/plugins.md": {
        "cd shout": _PLUG_IN,
        "python -m pip install -e '.[dev]'": _PLUG_IN,
        "python -m pytest": _PLUG_IN,
        "BRIDGE_HOME=example hms-bridge check": _PLUG_IN,
    },
    "docs/performance.md": {
        "make bench                                        # this, and the benchmarks of the codecs": _MEASURES,
        "python -m benchmarks.side_by_side                 # all cases, all peers": _MEASURES,
        "python -m benchmarks.side_by_side --case grpc-small --peer envoy --pairs 9": _MEASURES,
        "python -m benchmarks.side_by_side --write --json run.json   "
        "# the tables below and the plot, made anew": _MEASURES,
    },
    "CONTRIBUTING.md": {
        "make test     # makes .venv, installs everything, runs all tests in parallel": _TESTS,
        "make check    # formatter, linter, two type checkers": _TESTS,
        ".venv/bin/pip install pre-commit": _HOOKS,
        ".venv/bin/pre-commit install": _HOOKS,
        ".venv/bin/python -m pytest tests/server/test_drain.py": _TESTS,
        ".venv/bin/python -m pytest tests/bridge_soap -k fault -x": _TESTS,
        "make test ARGS=tests/gateway": _TESTS,
        "make test-slow                        # long streams, large messages, the benchmarks: "
        "what is marked `slow`": _TESTS,
        "make test-plain ARGS=tests/gateway    # with every fast path off": _TESTS,
        "make coverage                         # every test, with branch coverage": _TESTS,
        "make test-deploy                      # the image, units, chart and wheel; slow": _TESTS,
    },
}
