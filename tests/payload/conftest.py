from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bridge.payload.offload import Offload


@pytest.fixture
async def offloading() -> AsyncIterator[Offload]:
    """It makes processes; its zygote ends with the test."""
    made = Offload(processes=True)
    yield made
    made.end()
