"""Fixtures of the SOAP tests; see `soap_kit`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bridge.api import Operation
from tests.soap_kit import WSDL_DIR, Bind, MakeEcho, bind_wsdl, make_echo


@pytest.fixture
def bind() -> Bind:
    """Binds a WSDL of this folder's ``wsdl/``, or of `folder`."""

    async def run(wsdl: str, *, folder: Path = WSDL_DIR, **given: Any) -> Sequence[Operation]:
        return await bind_wsdl(folder, wsdl, **given)

    return run


@pytest.fixture
def echo(tmp_path: Path) -> MakeEcho:
    """Makes an `Echo` from the content of a schema."""
    return partial(make_echo, tmp_path)
