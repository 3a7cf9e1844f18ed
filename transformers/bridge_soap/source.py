"""Generated Python: the source of encoders and decoders.

Source text has only structure. Tags and keys are literals, made by ``repr`` or from checked XML names (`tag_literal`);
all other values are constants in the code's namespace.
"""

from __future__ import annotations

import re
from typing import Any

from bridge.api import define_function
from bridge_soap.names import NCNAME

#: The number of types that are compiled at bind. Others are compiled on first use, since most operations of a large
#: WSDL are never called.
EAGER = 50

_TAG = re.compile(f"(?:{NCNAME.pattern}:)?{NCNAME.pattern}")


class Source:
    """The lines of one function, and the namespace of the code."""

    def __init__(self, env: dict[str, Any]) -> None:
        self.lines: list[str] = []
        self.depth = 0
        self.env = env

    def add(self, line: str) -> None:
        self.lines.append("    " * self.depth + line)

    def const(self, value: object) -> str:
        """A name for `value` in the namespace."""
        name = f"k{len(self.env)}"
        self.env[name] = value
        return name

    def define(self, name: str, parameters: str, label: str) -> None:
        """Define the function `name` in the namespace; `label` is its file name in tracebacks."""
        define_function(f"{name}({parameters})", self.lines or ["pass"], self.env, filename=label)


def tag_literal(tag: str) -> str:
    """A tag for use inside a literal of generated code."""
    if _TAG.fullmatch(tag) is None:
        raise AssertionError(f"{tag!r} is not an XML name")
    return tag
