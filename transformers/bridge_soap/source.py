"""Generated Python: how encoders and decoders become straight-line code.

Only structure is written into source: tags and keys enter as literals made by ``repr`` or as XML names that were
checked (`tag_literal`), everything else as a constant in the namespace that the code runs in.
"""

from __future__ import annotations

import re
from typing import Any

from bridge_soap.names import NCNAME

#: How many types of a contract are compiled when it is bound. Those of a larger one follow when they are first used:
#: by then all is known to be sound, and of a WSDL with hundreds of operations most are never called.
EAGER = 50

_TAG = re.compile(f"(?:{NCNAME.pattern}:)?{NCNAME.pattern}")


class Source:
    """Lines of one function, and the namespace that it runs in."""

    def __init__(self, env: dict[str, Any]) -> None:
        self.lines: list[str] = []
        self.depth = 1
        self.env = env

    def add(self, line: str) -> None:
        self.lines.append("    " * self.depth + line)

    def const(self, value: object) -> str:
        """A name for `value` in the namespace."""
        name = f"k{len(self.env)}"
        self.env[name] = value
        return name

    def define(self, name: str, parameters: str, label: str) -> None:
        """Make the function `name` in the namespace; `label` is what tracebacks show."""
        text = f"def {name}({parameters}):\n" + "\n".join(self.lines or ["    pass"]) + "\n"
        exec(compile(text, f"<{label}>", "exec"), self.env)  # noqa: S102  # written from structure alone, see above


def tag_literal(tag: str) -> str:
    """A tag as it may stand inside a literal of generated code."""
    if _TAG.fullmatch(tag) is None:
        raise AssertionError(f"{tag!r} is no XML name, and nothing else gets here")
    return tag
