"""Contracts that are published as a tree of folders, with schemas beside and above the WSDL."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from bridge.api import BindError
from bridge_soap.documents import Library
from bridge_soap.wsdl.definitions import read_wsdl


def common_folder(wsdl: Path) -> Path:
    """The folder that holds a WSDL and all files that it refers to by relative names, directly or through others.

    For the operator's commands only: the files may lie anywhere.
    """
    wsdl = wsdl.resolve()
    library = Library(Path(wsdl.anchor), elsewhere=False)
    with suppress(BindError):  # it is raised again when the contract is read from its own folder
        read_wsdl(library, wsdl.relative_to(wsdl.anchor).as_posix())
    return Path(os.path.commonpath([wsdl.parent, *(Path(each.id).parent for each in library.documents)]))
