"""The gateway's path templates as OpenAPI writes them.

The gateway's ``{name*}`` (the rest of the path, slashes too) has no counterpart in OpenAPI 3.1, whose parameters are
one segment each; it becomes ``{name}``, and its Parameter Object carries ``x-bridge-rest: true``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bridge.http.template import fill_template, join_template, parse_template, split_template

_WORD = re.compile(r"[^A-Za-z0-9]+")


@dataclass(frozen=True, slots=True)
class DocumentPath:
    """A whole public path.

    :ivar text: as OpenAPI writes it, ``/v1/books/{name}:publish``.
    :ivar names: its parameters, in order.
    :ivar rest: the one of `names` that takes the rest of the path, or ``""``.
    :ivar key: `text` without the names. OpenAPI 3.1, section 4.8.8: two paths with one key are the same path.
    """

    text: str
    names: tuple[str, ...]
    rest: str
    key: str

    @classmethod
    def of(cls, route: str, path: str) -> DocumentPath:
        """The route's path with an operation's `path` below it."""
        template = parse_template(join_template(route, path))
        names, pieces = template.names, template.pieces
        text = fill_template(pieces, {name: f"{{{name}}}" for name in names})
        return cls(text, names, template.rest, fill_template(pieces, dict.fromkeys(names, "{}")))


def words(path: str) -> list[str]:
    """The literal parts of a template as plain words: ``/v1/my-books/{id}:publish`` is v1, my_books, publish."""
    literals = "/".join(split_template(path)[::2]).replace(":", "/").split("/")
    return [word for literal in literals if (word := _WORD.sub("_", literal).strip("_"))]


def plain(name: str) -> str:
    """`name` as one word that every generator of clients takes."""
    return _WORD.sub("_", name).strip("_") or "call"
