"""How many functions some work calls: the same on every machine, unlike seconds."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import FrameType
from typing import Any

import bridge

OURS = str(Path(bridge.__file__).parent)


async def counted(work: Callable[[], Awaitable[None]]) -> tuple[int, int]:
    """Calls of our own functions, and calls of C that those make."""
    counts = Counter[str]()

    def profile(frame: FrameType, event: str, _: Any) -> None:
        if frame.f_code.co_filename.startswith(OURS):
            counts[event] += 1

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        await work()
    finally:
        sys.setprofile(before)
    return counts["call"], counts["c_call"]
