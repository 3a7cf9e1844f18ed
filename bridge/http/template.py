"""Path templates of routes and upstreams: ``/a/{name}/b/{rest*}``, with an optional ``:verb`` at the end.

Operations may have ``{name**}``, too: any number of segments, none included, with further segments behind it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote

_SEGMENT = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@%-]+")
_PARAMETER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_.]*)\*{0,2}\}")
#: What may stand behind the colon of ``{name}:verb``. A request's verb is compared as it is sent: no escapes.
_VERB = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=@-]+")
_CONTROL = re.compile(r"%(?:[01][0-9A-Fa-f]|7[Ff])")
_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class PathTemplate:
    """A template taken apart. `parse_template` makes it.

    :ivar text: as it was written.
    :ivar pieces: literal text at even places, the names of parameters at odd ones.
    :ivar steps: its segments before ``{rest*}`` or ``{rest**}``: a literal, percent-decoded, or None for ``{name}``.
    :ivar rest: the parameter that takes any number of segments, or ``""``.
    :ivar tail: likewise the segments behind ``{rest**}``.
    :ivar verb: without its colon, or ``""``.
    """

    text: str
    pieces: tuple[str, ...]
    steps: tuple[str | None, ...]
    rest: str
    tail: tuple[str | None, ...]
    verb: str

    @property
    def names(self) -> tuple[str, ...]:
        """Its parameters, in order."""
        return self.pieces[1::2]

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for templates that take the same paths."""
        return self.steps, bool(self.rest), self.tail, self.verb


def split_template(text: str) -> tuple[str, ...]:
    """The `PathTemplate.pieces` of any text with ``{name}`` and ``{name*}`` in it."""
    return tuple(_PARAMETER.split(text))


def fill_template(pieces: Sequence[str], values: Mapping[str, str]) -> str:
    """`pieces` with `values` in the place of parameters, as they are (nothing is quoted), or ``""`` without a value."""
    parts = [*pieces]
    parts[1::2] = [values.get(name, "") for name in pieces[1::2]]
    return "".join(parts)


def join_template(route: str, path: str) -> str:
    """The whole public path of an operation at `path` below `route`; ``""`` is the route itself."""
    return route.rstrip("/") + path if path else route


@lru_cache(maxsize=4096)
def parse_template(path: str) -> PathTemplate:
    """The template ``/a/{name}/b/{rest*}``.

    :raises ValueError: it doesn't start with ``/``, names a parameter twice, ``{name*}`` is not last, ``{name**}`` is
        last or not alone, or a segment or verb has invalid characters.
    """
    if not path.startswith("/"):
        raise ValueError(f"{path!r} must start with /")
    steps: list[str | None] = []
    head: list[str | None] | None = None  # `steps` before ``{rest**}``, once there is one
    names: set[str] = set()
    rest = verb = ""
    segments = path[1:].split("/")
    for at, segment in enumerate(segments):
        last = at == len(segments) - 1
        text, _, verb = segment.partition("}:")
        if verb:
            text += "}"
        if "{" not in text and "}" not in text:
            _check_literal(path, segment, text, last=last)
            steps.append(unquote(text) if "%" in text else text)
            continue
        match = _PARAMETER.fullmatch(text)
        if not match:
            raise ValueError(f"{segment!r}: a parameter fills a whole segment, as {{name}} or {{name*}}")
        if match[1] in names:
            raise ValueError(f"the parameter {match[1]!r} stands in it twice")
        names.add(match[1])
        if not text.endswith("*}"):
            steps.append(None)
        elif text.endswith("**}"):
            if last or head is not None:
                raise ValueError(f"{segment!r} takes any number of segments: once, and not at the end")
            rest, head, steps = match[1], steps, []
        elif last and head is None:
            rest = match[1]
        else:
            raise ValueError(f"{segment!r} takes the rest of the path, so it must come last")
        if verb and not last:
            raise ValueError(f"{segment!r}: a :verb belongs at the end of the path")
        if verb and not _VERB.fullmatch(verb):
            raise ValueError(f"{segment!r}: a :verb is one word of letters, digits and -._~!$&'()*+,;=@")
    before, tail = (steps, []) if head is None else (head, steps)
    return PathTemplate(path, split_template(path), tuple(before), rest, tuple(tail), verb)


def check_template(path: str) -> str:
    """`path`, if `parse_template` takes it as the template of a whole route.

    :raises ValueError: it doesn't.
    """
    template = parse_template(path)
    if template.tail:
        raise ValueError(f"{path!r}: a parameter fills a whole segment, as {{name}} or {{name*}}")
    return template.text


def _check_literal(path: str, segment: str, text: str, *, last: bool) -> None:
    if not text:
        if not last:
            raise ValueError(f"{path!r} has an empty segment")
    elif not _SEGMENT.fullmatch(text) or _ESCAPE.search(text) or _CONTROL.search(text) or _climbs(text):
        raise ValueError(f"{segment!r} can't be a path segment")


def _climbs(segment: str) -> bool:
    """Whether it is a dot segment in any encoding; the gateway refuses requests with these."""
    if "." not in segment and "%" not in segment:
        return False
    return any(part in (".", "..") for part in re.split(r"[/\\]", unquote(segment).partition(";")[0]))


def decoded(template: str) -> str:
    """`template`, percent-decoded.

    :raises ValueError: it is not UTF-8. All undecodable templates would look the same.
    """
    try:
        plain = unquote(template, errors="strict")
    except UnicodeDecodeError:
        plain = "\ufffd"
    if "\ufffd" in plain:
        raise ValueError(f"{template!r} holds escapes that are not UTF-8")
    return plain
