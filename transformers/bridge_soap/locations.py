"""Where a contract's document may lie: the location as it is written, and where it is looked for if it is wrong.

Contracts are moved after they were written: imports name folders of another machine, the inner host of a service, or a
file in other letters than its own.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

_PORTS = {"http": 80, "https": 443}
_MAX_PARTS = 8  #: of a wrong location's path that are looked for, counted from its end
_MAX_FOLDERS = 16  #: in which they are looked for: the document's own, and those above
_MAX_SCHEMAS = 200  #: of a folder that are looked into
_MAX_ENTRIES = 10_000  #: of a folder that are compared with a name in other letters


def is_url(reference: str) -> bool:
    return reference.lower().startswith(("http://", "https://"))


def plain(reference: str) -> str:
    """A reference without its fragment, and with slashes for the backslashes of Windows."""
    return reference.partition("#")[0].replace("\\", "/")


def origin_of(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port (RFC 6454). An invalid port is -1.

    :raises ValueError: the host is malformed.
    """
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    scheme = parts.scheme.lower()
    return scheme, (parts.hostname or "").lower(), port if port is not None else _PORTS.get(scheme)


# --- files -----------------------------------------------------------------------------------------------------------


def resolved(path: Path) -> Path:
    """As `Path.resolve`, which raises for links that lead to themselves in some versions of Python."""
    return Path(os.path.realpath(path))


def name_below(folder: Path, path: Path) -> str:
    """What messages call the resolved `path` below `folder`: without the folders ``..2026_11_03_…`` that Kubernetes
    keeps a ConfigMap's files in, if it can be read so, too."""
    name = path.relative_to(folder)
    mounted = Path(*(part for part in name.parts if not part.startswith("..")))
    return (mounted if mounted != name and resolved(folder / mounted) == path else name).as_posix()


def named_file(start: Path, name: str, top: Path) -> Path | None:
    """The file `name`, relative to the folder `start`; percent-encoded names, which some vendors write, are also tried
    decoded. The result is below `top`, but may be missing; None if no such path is below `top`."""
    inside = None
    for candidate in _spellings(name):
        path = resolved(start / candidate)
        if path.is_relative_to(top):
            if os.path.isfile(path):
                return path
            inside = inside or path
    return inside


def likely_files(start: Path, name: str, top: Path, *, other: Path, elsewhere: bool = True) -> Iterator[Path]:
    """Files below `top` that the wrong location `name` may mean: itself in other letters, then, with `elsewhere`, the
    end of its path, as long as possible, in `start` and `other` (the WSDL's folder) and in the folders above, up to
    `top`."""
    seen: set[Path] = set()
    above = dict.fromkeys((start, *start.parents, other, *other.parents))
    folders = list(islice((each for each in above if each.is_relative_to(top)), _MAX_FOLDERS))
    places = [(start, name), *((folder, tail) for tail in _tails(name) if elsewhere for folder in folders)]
    for folder, tail in places:
        for candidate in _spellings(tail):
            path = _in_other_letters(folder, candidate, top)
            if path is not None and path not in seen:
                seen.add(path)
                yield path


def schemas_in(folder: Path, namespace: str, largest: int) -> Iterator[Path]:
    """The schema files of a folder that hold the text `namespace`, of at most `largest` bytes."""
    needle = namespace.encode()
    for name in sorted(each for each in _entries(folder) if each.lower().endswith(".xsd"))[:_MAX_SCHEMAS]:
        path = resolved(folder / name)
        try:
            if os.path.isfile(path) and path.stat().st_size <= largest and needle in path.read_bytes():
                yield path
        except OSError:
            continue


def _spellings(name: str) -> dict[str, None]:
    names = (name, unquote(name), unquote(name.removeprefix("file:").lstrip("/")))
    return dict.fromkeys(each.replace("\\", "/") for each in names)


def _tails(name: str) -> list[str]:
    """The ends of a path, the longest first; ``..`` and a drive's letter are never among them."""
    path = unquote(urlsplit(name).path) if is_url(name) else name.removeprefix("file:")
    parts: list[str] = []
    for part in reversed(path.split("/")):
        if part == ".." or part.endswith(":"):
            break
        if part not in ("", "."):
            parts.insert(0, part)
    parts = parts[-_MAX_PARTS:]
    return ["/".join(parts[at:]) for at in range(len(parts))]


def _in_other_letters(start: Path, name: str, top: Path) -> Path | None:
    """The file `name` below `top`, in which upper and lower case and composed characters are not told apart."""
    path, relative = start, PurePosixPath(name)
    if relative.is_absolute():
        return None
    for part in relative.parts:
        step = path / part
        if not os.path.exists(step):
            wanted = _folded(part)
            names = [each for each in _entries(path) if _folded(each) == wanted]
            if len(names) != 1:
                return None
            step = path / names[0]
        path = resolved(step)
        if not path.is_relative_to(top):
            return None
    return path if os.path.isfile(path) else None


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _entries(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [each.name for each in islice(entries, _MAX_ENTRIES)]
    except OSError:
        return []


# --- URLs ------------------------------------------------------------------------------------------------------------

_MAX_URLS = 6  #: in which a wrong location is looked for


def likely_urls(url: str, base: str) -> list[str]:
    """URLs of the origin of `base` that `url`, which `base` refers to, may mean: its own path, then its last part in
    the folder of `base` and in those above."""
    own, parts = urlsplit(base), urlsplit(url)
    root = f"{own.scheme}://{own.netloc}"
    query = f"?{parts.query}" if parts.query else ""
    urls = [f"{root}{parts.path or '/'}{query}"]
    last = parts.path.rpartition("/")[2]
    folders = own.path.split("/")[1:-1] if last else []
    for count in range(len(folders), -1, -1) if last else ():
        urls.append(f"{root}/{''.join(f'{each}/' for each in folders[:count])}{last}{query}")
    return list(dict.fromkeys(each for each in urls if each not in (url, base)))[:_MAX_URLS]
