"""A call that is cut short: by a client that leaves, or by the end of the gateway."""

from __future__ import annotations

import asyncio

from bridge.errors import ClientDisconnected, ShuttingDown


def uncancelled(failure: Exception | asyncio.CancelledError | SystemExit, *, disconnected: bool) -> Exception:
    """`failure`; in place of a cancellation, which a client that leaves or the end of the gateway causes, the error for
    that. In place of an exit, which only a plug-in's code asks for, an error that is its defect.

    :param disconnected: the client has left.

    The current task then no longer counts as cancelled, so that it can answer.
    """
    if isinstance(failure, Exception):
        return failure
    if isinstance(failure, SystemExit):
        return RuntimeError(f"a plug-in wants to end the gateway: {failure!r}")
    task = asyncio.current_task()
    assert task is not None
    task.uncancel()
    return ClientDisconnected() if disconnected else ShuttingDown()
