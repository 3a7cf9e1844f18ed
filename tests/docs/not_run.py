"""The commands of pages that no test of the page runs, each with its reason."""

from __future__ import annotations

#: By page and by the command as the page has it, with its continuation lines joined.
NOT_RUN: dict[str, dict[str, str]] = {
    "README.md": {
        "make demo": "it installs from an index; tests/test_demo_terminal.py plays the demo, test_makefile.py installs",
        "make test     # every test, against real servers, in parallel": "it would run itself",
        "make check    # formatter, linter, type checkers": "a check of the code, not of the page",
        "make bench    # beside Envoy and others, then the codecs alone": "takes minutes",
        "make bare SUITE=trixie   # the demo and the tests in a bare Debian": "needs root, a mirror and minutes",
    },
}
