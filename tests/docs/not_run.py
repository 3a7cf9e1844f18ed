"""The commands of pages that no test of the page runs, each with its reason."""

from __future__ import annotations

#: By page and by the command as the page has it, with its continuation lines joined.
NOT_RUN: dict[str, dict[str, str]] = {}
