"""A call that the end of the gateway cuts short."""

from __future__ import annotations

import asyncio

from bridge.errors import ShuttingDown


def uncancelled(failure: Exception | asyncio.CancelledError) -> Exception:
    """`failure`; in place of a cancellation, which only the end of the gateway causes, the error for the client.

    The current task then no longer counts as cancelled, so that it can answer.
    """
    if isinstance(failure, Exception):
        return failure
    task = asyncio.current_task()
    assert task is not None
    task.uncancel()
    return ShuttingDown()
