"""Settings: environment over file over defaults; what can't be used is named with where it came from."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest

from bridge.config.settings import load
from bridge.errors import SettingsError


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    config = tmp_path / "c.yml"
    config.write_text("mesh: 'dns:'\nmax_body: 1M\n")
    made = load({"BRIDGE_MESH": "static:m.yml", "OTHER": "x"}, config)
    assert (made.mesh, made.max_body) == ("static:m.yml", 1024**2)
    assert load({}, config, mesh="static:given.yml").mesh == "static:given.yml"
    assert load({}).store == "sqlite:///.bridge/routes.db"


def test_a_wrong_value_is_named_with_its_origin(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="BRIDGE_MAX_BODY: 'big' is no size"):
        load({"BRIDGE_MAX_BODY": "big"})
    with pytest.raises(SettingsError, match="BRIDGE_MESSH: no setting has this name"):
        load({"BRIDGE_MESSH": "x"})
    config = tmp_path / "c.yml"
    config.write_text("colour: red\n")
    with pytest.raises(SettingsError, match=r"c\.yml:1: colour: no setting"):
        load({}, config)
    config.write_text("mesh: 'dns:'\nlog_keep: 0\n")
    with pytest.raises(SettingsError, match=r"c\.yml:2: log_keep: "):
        load({}, config)
    config.write_text("mesh: 'dns:'\n---\nlog_keep: 1\n")
    with pytest.raises(SettingsError, match=r"c\.yml:3: it holds more than one document"):
        load({}, config)
    config.write_text("- a\n")
    with pytest.raises(SettingsError, match="must map"):
        load({}, config)
    config.write_text("a: [")
    with pytest.raises(SettingsError, match=r"c\.yml:1: it is not YAML: did not find"):
        load({}, config)
    with pytest.raises(SettingsError, match="No such file"):
        load({}, tmp_path / "none.yml")
    with pytest.raises(SettingsError, match="BRIDGE_TRUSTED_PROXIES"):
        load({"BRIDGE_TRUSTED_PROXIES": "10.0.0.0/99"})


def test_secrets_of_routes_are_no_settings() -> None:
    assert load({"BRIDGE_SECRET_LEDGER_KEY": "k", "BRIDGE_SECRETS": "bound.yml"}).secrets == Path("bound.yml")
    for name in ("BRIDGE_SECRET", "BRIDGE_SECRETS_KEY", "BRIDGE_SECRETX"):
        with pytest.raises(SettingsError, match=f"{name}: no setting has this name"):
            load({name: "k"})


def test_networks_to_fetch_from() -> None:
    assert load({"BRIDGE_FETCH_NETWORKS": "127.0.0.1, fd00::/8"}).fetch_networks == (
        ip_network("127.0.0.1/32"),
        ip_network("fd00::/8"),
    )
    with pytest.raises(SettingsError, match="BRIDGE_FETCH_NETWORKS"):
        load({"BRIDGE_FETCH_NETWORKS": "intranet"})
