"""Path templates of routes and upstreams: ``/a/{name}/b/{rest*}``, perhaps with a ``:verb`` at the end."""

from __future__ import annotations

import re
from urllib.parse import unquote

_SEGMENT = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@%-]+")
_PARAMETER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_.]*)(\*?)\}")
#: What may stand behind the colon of ``{name}:verb``. A request's verb is compared as it is sent: no escapes.
_VERB = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=@-]+")
_CONTROL = re.compile(r"%(?:[01][0-9A-Fa-f]|7[Ff])")
_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


def check_template(path: str) -> str:
    """A path template: ``/a/{name}/b/{rest*}``.

    :raises ValueError: it doesn't start with ``/``, names a parameter twice, ``{name*}`` is not last, or a segment or
        verb holds what none can.
    """
    if not path.startswith("/"):
        raise ValueError(f"{path!r} must start with /")
    names: set[str] = set()
    segments = path[1:].split("/") if path != "/" else []
    for at, segment in enumerate(segments):
        text, _, verb = segment.partition("}:")
        if verb:
            text += "}"
        if "{" in text or "}" in text:
            found = _PARAMETER.fullmatch(text)
            if not found:
                raise ValueError(f"{segment!r}: a parameter fills a whole segment, as {{name}} or {{name*}}")
            if found[1] in names:
                raise ValueError(f"the parameter {found[1]!r} stands in it twice")
            names.add(found[1])
            if found[2] and at != len(segments) - 1:
                raise ValueError(f"{segment!r} takes the rest of the path, so it must come last")
            if verb and at != len(segments) - 1:
                raise ValueError(f"{segment!r}: a :verb belongs at the end of the path")
            if verb and not _VERB.fullmatch(verb):
                raise ValueError(f"{segment!r}: a :verb is one word of letters, digits and -._~!$&'()*+,;=@")
        elif not text:
            if at != len(segments) - 1:
                raise ValueError(f"{path!r} has an empty segment")
        elif not _SEGMENT.fullmatch(text) or _ESCAPE.search(text) or _CONTROL.search(text) or _climbs(text):
            raise ValueError(f"{segment!r} can't be a path segment")
    return path


def _climbs(segment: str) -> bool:
    """Whether no request could ever reach it: the gateway refuses paths with a dot segment in any disguise."""
    if "." not in segment and "%" not in segment:
        return False
    return any(part in (".", "..") for part in re.split(r"[/\\]", unquote(segment).partition(";")[0]))


def decoded(template: str) -> str:
    """`template`, percent-decoded.

    :raises ValueError: it is not UTF-8. What can't be decoded would be taken for anything else that can't be.
    """
    try:
        plain = unquote(template, errors="strict")
    except UnicodeDecodeError:
        plain = "\ufffd"
    if "\ufffd" in plain:
        raise ValueError(f"{template!r} holds escapes that are not UTF-8")
    return plain
