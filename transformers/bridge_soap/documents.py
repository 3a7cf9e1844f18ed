"""Contract files: from a name or URL to a parsed document, within bounds.

A relative name lies below the folder it was given for and can't leave it. A URL is fetched with time and size limits,
follows redirects to the same host only, and what it refers to must lie on the same host too. Credentials are never part
of a URL, since URLs stand in messages and logs. Everything here blocks: it runs at bind, in a thread.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urljoin, urlsplit

from lxml import etree

from bridge import BindError, Fault, XmlError, xml_parser
from bridge_soap.parsing import parse_contract

if TYPE_CHECKING:
    import httpx

#: The header fields that a request for a URL may have.
Credentials = Callable[[str], Mapping[str, str]]

MAX_BYTES = 16 * 1024**2
MAX_DOCUMENTS = 500
#: Seconds: for one step of a fetch, for connecting, and for all that one contract fetches.
TIMEOUT, CONNECT, ALTOGETHER = 15.0, 5.0, 60.0


@dataclass(frozen=True, slots=True)
class Document:
    """One file. `id` tells it from all others (path or URL); `name` is what people read in messages."""

    root: etree._Element
    id: str
    name: str

    @property
    def is_url(self) -> bool:
        return is_url(self.id)


def is_url(reference: str) -> bool:
    return reference.lower().startswith(("http://", "https://"))


def shown(reference: str) -> str:
    """A reference as messages may show it: without the user and password that a URL may hold."""
    return _USER_INFO.sub("//", reference)


_USER_INFO = re.compile(r"//[^/?#]*@")


class Library:
    """Opens documents for one contract and keeps them. `digest` is a fingerprint of all that was read."""

    def __init__(self, folder: Path, credentials: Credentials | None = None) -> None:
        self._folder = folder.resolve()
        self._credentials = credentials
        self._open: dict[str, Document] = {}
        self._dead: dict[str, str] = {}
        self._hash = hashlib.sha256()
        self._until = time.monotonic() + ALTOGETHER

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def open(self, reference: str, base: Document | None = None) -> Document:
        """The document that `reference` names, seen from `base`.

        :raises BindError: it is outside the folder, can't be had, or isn't XML; the message names file and cause.
        """
        reference = reference.strip()
        try:
            return self._opened(reference, base)
        except (ValueError, OSError) as error:  # no URL, or no name that a file can have
            if isinstance(error, BindError):
                raise
            raise BindError(
                Fault("it can't be opened: no file or URL has such a name", file=shown(reference)[:200])
            ) from None

    def _opened(self, reference: str, base: Document | None) -> Document:
        if is_url(reference) or (base is not None and base.is_url):
            return self._from_url(urljoin(base.id, reference) if base is not None and base.is_url else reference, base)
        return self._from_file(reference, base)

    def _from_file(self, reference: str, base: Document | None) -> Document:
        start = Path(base.id).parent if base is not None else self._folder
        path = self._existing(start, reference.partition("#")[0].replace("\\", "/"))
        if path is None:
            raise BindError(Fault(f"it is outside {self._folder.name}/, where contracts lie", file=shown(reference)))
        known = self._open.get(str(path))
        if known is not None:
            return known
        name = path.relative_to(self._folder).as_posix()
        try:
            if path.stat().st_size > MAX_BYTES:
                raise BindError(Fault(f"it is larger than {MAX_BYTES // 1024**2} MiB", file=name))
            body = path.read_bytes()
        except OSError as error:
            raise BindError(Fault(f"it can't be read: {error.strerror}", file=name)) from None
        return self._keep(body, str(path), name)

    def _existing(self, start: Path, name: str) -> Path | None:
        """The file below the folder; a name that vendors percent-encoded is tried decoded too."""
        inside = None
        for candidate in dict.fromkeys((name, unquote(name), unquote(name.removeprefix("file:").lstrip("/")))):
            path = (start / candidate).resolve()
            if path.is_relative_to(self._folder):
                if path.is_file():
                    return path
                inside = inside or path
        return inside

    def _from_url(self, url: str, base: Document | None) -> Document:
        url = url.partition("#")[0]
        known = self._open.get(url)
        if known is not None:
            return known
        if shown(url) != url:
            raise BindError(Fault("a URL can't hold a user and password; wsdl_auth names them", file=shown(url)))
        host = urlsplit(url).netloc
        if base is not None and base.is_url and urlsplit(base.id).netloc != host:
            raise BindError(Fault(f"it lies on another host than {base.name}, which is refused", file=url))
        if host in self._dead:
            raise BindError(Fault(self._dead[host], file=url))
        return self._keep(self._fetch(url, host), url, url)

    def _fetch(self, url: str, host: str) -> bytes:
        import httpx  # heavy, and most contracts are files

        self._check_time(url)
        try:
            timeout = httpx.Timeout(TIMEOUT, connect=CONNECT)
            with httpx.Client(timeout=timeout, follow_redirects=False, trust_env=False) as client:
                for _ in range(5):
                    headers = {"accept": "text/xml, application/xml, */*"}
                    headers |= self._credentials(url) if self._credentials is not None else {}
                    with client.stream("GET", url, headers=headers) as reply:
                        if reply.is_redirect:
                            target = urljoin(url, reply.headers.get("location", ""))
                            if urlsplit(target).netloc != host:
                                raise BindError(Fault("it redirects to another host, which is refused", file=url))
                            url = target
                            continue
                        if reply.status_code != 200:
                            raise BindError(
                                Fault(_why_not(reply.status_code, sent="authorization" in headers), file=url)
                            )
                        return self._bounded(reply, url)
                raise BindError(Fault("it redirects too often", file=url))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = f"it can't be fetched: {str(error) or type(error).__name__}"
            self._dead[host] = reason
            raise BindError(Fault(reason, file=url)) from None

    def _bounded(self, reply: httpx.Response, url: str) -> bytes:
        parts, size = [], 0
        for part in reply.iter_bytes():
            size += len(part)
            if size > MAX_BYTES:
                raise BindError(Fault(f"it is larger than {MAX_BYTES // 1024**2} MiB", file=url))
            self._check_time(url)
            parts.append(part)
        return b"".join(parts)

    def _check_time(self, url: str) -> None:
        if time.monotonic() > self._until:
            raise BindError(Fault(f"the contract is not fetched within {ALTOGETHER:.0f} seconds", file=url))

    def _keep(self, body: bytes, key: str, name: str) -> Document:
        if len(self._open) >= MAX_DOCUMENTS:
            raise BindError(Fault(f"the contract is spread over more than {MAX_DOCUMENTS} files", file=name))
        try:
            root = parse_contract(body)
        except XmlError as error:
            raise BindError(Fault(str(error), file=name, line=_line(body))) from None
        self._hash.update(f"{key}\0{len(body)}\0".encode() + body)
        document = self._open[key] = Document(root, key, name)
        return document


def _why_not(status: int, *, sent: bool) -> str:
    if status not in (401, 403, 407):
        return f"the server answered HTTP {status}"
    if sent:
        return f"the server refuses the credentials of wsdl_auth (HTTP {status})"
    return f"the server wants credentials, which wsdl_auth can name (HTTP {status})"


def _line(body: bytes) -> int:
    """The line of the first syntax error, for the message; 0 where the fault is of another kind."""
    try:
        etree.fromstring(body, xml_parser())
    except etree.XMLSyntaxError as error:
        return error.lineno or 0
    except ValueError:
        return 0
    return 0
