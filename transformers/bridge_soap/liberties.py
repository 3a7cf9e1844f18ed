"""What is read of a contract although the letter of its specification forbids it: vendors publish it, and what is
meant is plain. Each case is noted, and a strict route refuses it."""

from __future__ import annotations

MAX_NOTES = 200  #: for one contract


class Liberties:
    """The liberties taken with one contract.

    :ivar strict: whether none may be taken.
    """

    def __init__(self, *, strict: bool = False) -> None:
        self.strict = strict
        self._notes: dict[str, None] = {}

    def allow(self, note: str) -> bool:
        """Whether the reader may go on in a way that `note` says, a sentence that names the file."""
        if not self.strict and len(self._notes) < MAX_NOTES:
            self._notes[note] = None
        return not self.strict

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(self._notes)
