"""Contract files: from a name or URL to a parsed document, within limits.

A file name is relative to its folder and can't lead out of it, and files do not refer to URLs. A URL is fetched by the
gateway (`bridge.api.Context.fetch`), and refers only to documents on the same host. Credentials are never part of a
URL, since URLs appear in messages and logs. Everything here blocks: it runs at bind, in a thread.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from lxml import etree

from bridge.api import BindError, Fault, FetchError, XmlError, fetch_error, xml_parser
from bridge_soap.parsing import parse_contract

#: The header fields of a request for a URL.
Credentials = Callable[[str], Mapping[str, str]]
#: Fetches a URL with header fields and blocks; raises `bridge.api.FetchError`.
BlockingFetch = Callable[[str, Mapping[str, str]], bytes]

MAX_BYTES = 16 * 1024**2
MAX_DOCUMENTS = 500  #: read for one contract, and fetched for it
ALTOGETHER = 60.0  #: seconds for all documents of one contract


@dataclass(frozen=True, slots=True)
class Document:
    """One file. `id` is its path or URL; `name` is for messages."""

    root: etree._Element
    id: str
    name: str

    @property
    def is_url(self) -> bool:
        return is_url(self.id)


def is_url(reference: str) -> bool:
    return reference.lower().startswith(("http://", "https://"))


def shown(reference: str) -> str:
    """A reference for messages: without the user and password of a URL."""
    return _USER_INFO.sub("//", reference)


_USER_INFO = re.compile(r"//[^/?#]*@")


class Library:
    """The documents of one contract.

    :param fetch: without it, URLs can't be opened.
    :param credentials: sent with requests for URLs.
    :ivar digest: of all documents that were read.
    :ivar links: the id of the document that a reference led to, by the id of the document it stands in and its text.
    """

    def __init__(
        self, folder: Path, fetch: BlockingFetch | None = None, credentials: Credentials | None = None
    ) -> None:
        self._folder = folder.resolve()
        self._fetch = fetch
        self._credentials = credentials
        self._open: dict[str, Document] = {}
        self.links: dict[tuple[str, str], str] = {}
        #: Failures by URL, and by host where the host does not answer.
        self._failed: dict[str, FetchError] = {}
        self._fetches = 0
        self._hash = hashlib.sha256()
        self._until = time.monotonic() + ALTOGETHER

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    @property
    def documents(self) -> list[Document]:
        """All that were read, the WSDL first."""
        return list(self._open.values())

    def open(self, reference: str, base: Document | None = None) -> Document:
        """The document that `reference` names, relative to `base`.

        :raises BindError: it is outside the folder, can't be read or fetched, or is not XML.
        """
        reference = reference.strip()
        try:
            document = self._opened(reference, base)
            if base is not None:
                self.links[base.id, reference] = document.id
            return document
        except (ValueError, OSError) as error:  # not a valid URL or file name
            if isinstance(error, BindError):
                raise
            raise BindError(
                Fault("it can't be opened: no file or URL has such a name", file=shown(reference)[:200])
            ) from None

    def _opened(self, reference: str, base: Document | None) -> Document:
        if base is not None and base.is_url:
            return self._from_url(urljoin(base.id, reference), base)
        if not is_url(reference):
            return self._from_file(reference, base)
        if base is not None:
            reason = f"it is a URL, which a file can't refer to; save it beside {base.name} and refer to that file"
            raise BindError(Fault(reason, file=shown(reference)))
        return self._from_url(reference, None)

    def _from_file(self, reference: str, base: Document | None) -> Document:
        start = Path(base.id).parent if base is not None else self._folder
        path = self._existing(start, reference.partition("#")[0].replace("\\", "/"))
        if path is None:
            raise BindError(
                Fault(f"it is outside {self._folder.name}/, the folder of contracts", file=shown(reference))
            )
        document = self._open.get(str(path))
        if document is not None:
            return document
        name = path.relative_to(self._folder).as_posix()
        try:
            if path.stat().st_size > MAX_BYTES:
                raise BindError(Fault(f"it is larger than {MAX_BYTES // 1024**2} MiB", file=name))
            body = path.read_bytes()
        except OSError as error:
            raise BindError(Fault(f"it can't be read: {error.strerror}", file=name)) from None
        return self._keep(body, str(path), name)

    def _existing(self, start: Path, name: str) -> Path | None:
        """The file below the folder. Percent-encoded names, which some vendors write, are also tried decoded."""
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
        document = self._open.get(url)
        if document is not None:
            return document
        if shown(url) != url:
            raise BindError(Fault("a URL can't hold a user and password; wsdl_auth names them", file=shown(url)))
        host = urlsplit(url).netloc.lower()
        if base is not None and urlsplit(base.id).netloc.lower() != host:
            raise BindError(Fault(f"it lies on another host than {base.name}, which is refused", file=url))
        for failed in (url, host):
            if failed in self._failed:
                raise self._failed[failed]
        try:
            return self._keep(self._fetched(url), url, url)
        except FetchError as error:
            self._failed[url if error.answered else host] = error
            raise

    def _fetched(self, url: str) -> bytes:
        if self._fetch is None:
            raise BindError(Fault("nothing is fetched by URL here", file=url))
        self._fetches += 1
        if self._fetches > MAX_DOCUMENTS:
            raise BindError(Fault(f"the contract names more than {MAX_DOCUMENTS} documents", file=url))
        if time.monotonic() > self._until:
            raise BindError(Fault(f"the contract is not fetched within {ALTOGETHER:.0f} seconds", file=url))
        try:
            return self._fetch(url, self._credentials(url) if self._credentials is not None else {})
        except FetchError as error:
            if error.status not in (401, 403, 407):
                raise
            faults = [replace(fault, reason=f"{fault.reason}; see wsdl_auth") for fault in error.faults]
            raise FetchError(faults, answered=True, status=error.status) from None

    def _keep(self, body: bytes, key: str, name: str) -> Document:
        if len(self._open) >= MAX_DOCUMENTS:
            raise BindError(Fault(f"the contract is spread over more than {MAX_DOCUMENTS} files", file=name))
        try:
            root = parse_contract(body)
        except XmlError as error:
            if is_url(key):
                raise fetch_error(key, str(error), line=_line(body)) from None
            raise BindError(Fault(str(error), file=name, line=_line(body))) from None
        self._hash.update(f"{key}\0{len(body)}\0".encode() + body)
        document = self._open[key] = Document(root, key, name)
        return document


def _line(body: bytes) -> int:
    """The line of the first syntax error; 0 where there is none."""
    try:
        etree.fromstring(body, xml_parser())
    except etree.XMLSyntaxError as error:
        return error.lineno or 0
    except ValueError:
        return 0
    return 0
