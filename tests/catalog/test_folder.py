"""The folder of specs: what counts as one, in which order, and that nothing is read twice in vain."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from bridge.catalog import folder as module
from bridge.catalog.folder import Folder
from bridge.errors import SpecError
from bridge.gateway.table import Source

SPEC = "route: {}\nupstream: svc:80\nauth: none\ntransform: {{request: passthrough}}\n"
LONG_AGO = 1_700_000_000


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "routes").mkdir()
    return tmp_path


@pytest.fixture
def made(home: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """A folder whose files are old enough to be known by their stamps at once."""
    monkeypatch.setattr(module, "YOUNG", -1e9)
    return Folder(home / "routes", home)


def read(folder: Folder) -> list[Source]:
    return [source for file in folder.look() for source in folder.read(file)]


def test_what_is_a_spec_file_and_in_which_order(home: Path, made: Folder) -> None:
    for name in ("b.yml", "a/z.json", "a.yaml", "a/b/c.yml", "B.yml", "x.d/y.yml"):
        (home / "routes" / name).parent.mkdir(parents=True, exist_ok=True)
        (home / "routes" / name).write_text(SPEC.format("/a"))
    for name in ("note.txt", ".yml", "..yml", ".a.yml", "c.yml~", "yml", ".git/d.yml", "a/..old/e.yml"):
        (home / "routes" / name).parent.mkdir(parents=True, exist_ok=True)
        (home / "routes" / name).write_text("no spec")
    (home / "routes/folder.yml").mkdir()
    (home / "elsewhere").mkdir()
    (home / "elsewhere/e.yml").write_text("no spec")
    (home / "routes/link").symlink_to(home / "elsewhere")
    (home / "routes/link.yml").symlink_to(home / "routes/b.yml")
    (home / "routes/gone.yml").symlink_to(home / "nothing")
    (home / "routes/round.yml").symlink_to("round.yml")
    (home / "routes/all").symlink_to(home / "routes")
    plainly = sorted(
        path
        for path in (home / "routes").rglob("*")
        if re.fullmatch(r"([^.][^/]*/)*[^.][^/]*\.(yml|yaml|json)", path.relative_to(home / "routes").as_posix())
        and path.name != "round.yml"
        and path.is_file()
    )
    assert made.files() == plainly
    assert [(source.id, source.file) for source in read(made)][:2] == [
        ("file:B.yml", "routes/B.yml"),
        ("file:a/b/c.yml", "routes/a/b/c.yml"),
    ]


def test_a_config_map_is_read_once_and_by_its_plain_names(home: Path, made: Folder) -> None:
    """Kubernetes mounts each file as a link into ``..data``, which is a link to a folder of this moment."""
    version = home / "routes/..2026_11_30_10_00_00.123"
    (version / "team").mkdir(parents=True)
    for name in ("a.yml", "team/b.yml"):
        (version / name).write_text(SPEC.format("/a"))
    (home / "routes/..data").symlink_to(version.name)
    (home / "routes/a.yml").symlink_to("..data/a.yml")
    (home / "routes/team").symlink_to("..data/team")
    assert [source.id for source in read(made)] == ["file:a.yml", "file:team/b.yml"]


def test_a_folder_that_is_not_there_holds_nothing(home: Path) -> None:
    assert Folder(home / "none", home).files() == []


def test_a_folder_elsewhere_is_shown_whole(home: Path) -> None:
    (home / "routes/a.yml").write_text(SPEC.format("/a") + "---\n" + SPEC.format("/b"))
    one, two = read(Folder(home / "routes", home / "other"))
    assert (one.file, one.id, two.id) == (str(home / "routes/a.yml"), "file:a.yml", "file:a.yml#1")


def test_only_what_has_changed_is_read_again(home: Path, made: Folder) -> None:
    for name in "abc":
        (home / f"routes/{name}.yml").write_text(SPEC.format(f"/{name}"))
    first = read(made)
    (home / "routes/b.yml").write_text(SPEC.format("/b2"))
    (home / "routes/c.yml").unlink()
    second = read(made)
    assert [source.spec.route for source in second] == ["/a", "/b2"]
    assert second[0] is first[0]
    (home / "routes/c.yml").write_text(SPEC.format("/c"))
    assert read(made)[2] is not first[2], "what was away is read when it is back"


def test_the_same_size_and_time_are_not_the_same_file(home: Path, made: Folder) -> None:
    file = home / "routes/a.yml"
    file.write_text(SPEC.format("/a"))
    os.utime(file, (LONG_AGO, LONG_AGO))
    assert [source.spec.route for source in read(made)] == ["/a"]
    (home / "new").write_text(SPEC.format("/b"))
    os.utime(home / "new", (LONG_AGO, LONG_AGO))
    (home / "new").replace(file)
    assert [source.spec.route for source in read(made)] == ["/b"]


def test_a_file_that_has_only_just_changed_is_read_again(home: Path) -> None:
    (home / "routes/a.yml").write_text(SPEC.format("/a"))
    folder = Folder(home / "routes", home)
    assert read(folder)[0] is not read(folder)[0]


def test_a_wrong_file_is_wrong_each_time(home: Path, made: Folder) -> None:
    (home / "routes/a.yml").write_text("route: [")
    for _ in range(2):
        with pytest.raises(SpecError, match=r"routes/a.yml:1: "):
            read(made)


def test_what_is_called_as_a_spec_file_and_is_none_is_told_once(
    home: Path, made: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    os.mkfifo(home / "routes/pipe.yml")
    (home / "routes/gone.yml").symlink_to("nowhere.yml")
    (home / "routes/loop.yml").symlink_to("loop.yml")
    for _ in range(2):
        assert [source.id for source in read(made) if source.id in ("file:pipe.yml", "file:gone.yml")] == []
    told = sorted(record.getMessage().partition(" is passed over")[0] for record in caplog.records)
    assert told == ["routes/gone.yml", "routes/loop.yml", "routes/pipe.yml"]
