"""docs/install.md as written, where it needs neither an index nor another program. deploy/tests does the rest."""

from __future__ import annotations

import shutil
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.docs.pages import ROOT, blocks_of
from tests.docs.walking import walk

COMPOSE = ROOT / "deploy" / "compose"


def test_the_page_on_installing(tmp_path: Path) -> None:
    home, folder = tmp_path / "srv", tmp_path / "folder"
    folder.mkdir()
    (folder / "bridge-env").mkdir()
    (folder / "bridge-env" / "bin").symlink_to(Path(sys.executable).parent)
    shutil.copytree(COMPOSE / "routes", home / "routes")
    service = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=COMPOSE / "hello"))
    threading.Thread(target=service.serve_forever, daemon=True).start()
    (home / "mesh.yml").write_text(f"hello: 127.0.0.1:{service.server_port}\n")
    with service, walk(folder, "8080", names={"/srv/bridge": str(home)}) as reader:
        for block in blocks_of(ROOT / "docs" / "install.md"):
            reader.read(block)
        service.shutdown()
