"""A call that the end of the gateway cuts short."""

from __future__ import annotations

import asyncio

from bridge.errors import ShuttingDown


def uncancelled(failure: Exception | asyncio.CancelledError | SystemExit) -> Exception:
    """`failure`; in place of a cancellation, which only the end of the gateway causes, the error for the client. In
    place of an exit, which only a plug-in's code asks for, an error that is its defect.

    The current task then no longer counts as cancelled, so that it can answer.
    """
    if isinstance(failure, Exception):
        return failure
    if isinstance(failure, SystemExit):
        return RuntimeError(f"a plug-in wants to end the gateway: {failure!r}")
    task = asyncio.current_task()
    assert task is not None
    task.uncancel()
    return ShuttingDown()
