"""Contract files: from a name or URL to a parsed document, within limits.

A file name is relative to its folder and can't lead out of it, and files do not refer to URLs. A URL is fetched by the
gateway (`bridge.api.Context.fetch`), and refers only to documents on the same host. What has a wrong location is looked
for within the same bounds (`bridge_soap.locations`). Credentials are never part of a URL, since URLs appear in messages
and logs. Everything here blocks: it runs at bind, in a thread.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from urllib.parse import urljoin, urlsplit

from lxml import etree

from bridge.api import BindError, Fault, Fetched, FetchError, XmlError, fetch_error, xml_parser
from bridge_soap.liberties import Liberties
from bridge_soap.locations import (
    is_url,
    likely_files,
    likely_urls,
    name_below,
    named_file,
    origin_of,
    plain,
    resolved,
    schemas_in,
)
from bridge_soap.parsing import parse_contract, parse_repaired, what_it_is

#: The header fields of a request for a URL.
Credentials = Callable[[str], Mapping[str, str]]
#: Fetches a URL with header fields and blocks; raises `bridge.api.FetchError`.
BlockingFetch = Callable[[str, Mapping[str, str]], bytes]
#: Whether a document that was found in another place may be the one that is meant, by its root.
Fits = Callable[[etree._Element], bool]

MAX_BYTES = 16 * 1024**2
MAX_DOCUMENTS = 500  #: read for one contract, and fetched for it
ALTOGETHER = 60.0  #: seconds for all documents of one contract
MAX_GUESSES = 60  #: fetches for one contract of documents whose location is wrong


@dataclass(frozen=True, slots=True)
class Document:
    """One file. `id` is its path or URL; `name` is for messages. `url` is where redirects led, if there were any."""

    root: etree._Element
    id: str
    name: str
    url: str = ""

    @property
    def is_url(self) -> bool:
        return is_url(self.id)

    @property
    def base(self) -> str:
        """What its references are relative to."""
        return self.url or self.id


def shown(reference: str) -> str:
    """A reference for messages: without the user and password of a URL."""
    return _USER_INFO.sub("//", reference)


_USER_INFO = re.compile(r"//[^/?#]*@")


class Library:
    """The documents of one contract.

    :param fetch: without it, URLs can't be opened.
    :param credentials: sent with requests for URLs.
    :param elsewhere: whether a file whose location is wrong is looked for in other folders. Without it, absolute names
        are refused, too.
    :ivar digest: of all documents that were read.
    :ivar links: the id of the document that a reference led to, by the id of the document it stands in and its text; by
        the namespace that is imported, where no location led to a document.
    """

    def __init__(
        self,
        folder: Path,
        fetch: BlockingFetch | None = None,
        credentials: Credentials | None = None,
        liberties: Liberties | None = None,
        *,
        elsewhere: bool = True,
    ) -> None:
        self._folder, self._folder_name = resolved(folder), folder.name
        self._fetch = fetch
        self._credentials = credentials
        self.liberties = liberties or Liberties()
        self._elsewhere = elsewhere
        self._open: dict[str, Document] = {}
        self.links: dict[tuple[str, str], str] = {}
        #: Failures by URL, and by host where the host does not answer.
        self._failed: dict[str, FetchError] = {}
        self._fetches = self._guesses = 0
        self._hash = hashlib.sha256()
        self._until = time.monotonic() + ALTOGETHER

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    @property
    def documents(self) -> list[Document]:
        """All that were read, the WSDL first."""
        return list(self._open.values())

    def open(self, reference: str, base: Document | None = None, fits: Fits = lambda root: True) -> Document:
        """The document that `reference` names, relative to `base`. Where it is not there, it is looked for elsewhere.

        :param fits: a document found elsewhere must fit.
        :raises BindError: it is outside the folder, can't be read or fetched, or is not XML.
        """
        reference = reference.strip()
        try:
            document = self._opened(reference, base, fits)
            if base is not None:
                self.links[base.id, reference] = document.id
            return document
        except (ValueError, OSError) as error:  # not a valid URL or file name
            if isinstance(error, BindError):
                raise
            raise BindError(
                Fault("it can't be opened: no file or URL has such a name", file=shown(reference)[:200])
            ) from None

    def _opened(self, reference: str, base: Document | None, fits: Fits) -> Document:
        if base is None:
            return self._from_url(reference) if is_url(reference) else self._from_file(reference, None)
        if base.is_url:
            return self._beside_url(urljoin(base.base, plain(reference)), base, fits)
        try:
            if is_url(reference):
                reason = f"it is a URL, which a file can't refer to; save it beside {base.name} and refer to that file"
                raise BindError(Fault(reason, file=shown(reference)))
            return self._from_file(reference, base)
        except BindError:
            document = self._likely_file(reference, base, fits)
            if document is None:
                raise
            return document

    # --- files ---

    def _from_file(self, reference: str, base: Document | None) -> Document:
        start, name = Path(base.id).parent if base is not None else self._folder, plain(reference)
        absolute = not self._elsewhere and PurePosixPath(name).is_absolute()
        path = None if absolute else named_file(start, name, self._folder)
        if path is None:
            raise BindError(
                Fault(f"it is outside {self._folder_name}/, the folder of contracts", file=shown(reference))
            )
        return self._from_path(path)

    def _likely_file(self, reference: str, base: Document, fits: Fits) -> Document | None:
        """The file below the folder that a wrong location means, if there is one."""
        name = plain(reference)
        if is_url(name) and (not self._elsewhere or "?" in name):
            return None  # what a query asks for has no name
        for path in likely_files(
            Path(base.id).parent, name, self._folder, other=self._wsdl_folder, elsewhere=self._elsewhere
        ):
            if str(path) == base.id:
                continue
            try:
                document = self._from_path(path, fits)
            except BindError:
                continue  # it is another file of that name
            if self._replaced(reference, base, document):
                return document
        return None

    @property
    def _wsdl_folder(self) -> Path:
        return Path(self.documents[0].id).parent

    def beside(self, base: Document, namespace: str, fits: Fits) -> Document | None:
        """A file for a namespace that `base` imports without saying where it is: one beside it, or beside the WSDL."""
        if base.is_url or not Path(base.id).is_absolute() or not self._elsewhere or self.liberties.strict:
            return None
        for folder in dict.fromkeys((Path(base.id).parent, self._wsdl_folder)):
            for path in schemas_in(folder, namespace, MAX_BYTES):
                try:
                    document = self._from_path(path, fits) if path.is_relative_to(self._folder) else None
                except BindError:
                    continue
                if document is not None and self._replaced(namespace, base, document):
                    self.links[base.id, namespace] = document.id
                    return document
        return None

    def _from_path(self, path: Path, fits: Fits | None = None) -> Document:
        document = self._open.get(str(path))
        if document is not None:
            return _fitting(document, fits)
        name = name_below(self._folder, path)
        try:
            if os.path.exists(path) and not (
                os.path.isfile(path) or os.path.isdir(path)
            ):  # a pipe, for which one would wait
                raise BindError(Fault("it is no file", file=name))
            if path.stat().st_size > MAX_BYTES:
                raise BindError(Fault(f"it is larger than {MAX_BYTES // 1024**2} MiB", file=name))
            body = path.read_bytes()
        except OSError as error:
            raise BindError(Fault(f"it can't be read: {error.strerror}", file=name)) from None
        return self._keep(body, str(path), name, fits)

    def _replaced(self, reference: str, base: Document, document: Document) -> bool:
        """Whether `document` may be read in place of what `base` refers to."""
        return self.liberties.allow(
            f"{base.name} refers to {shown(reference)[:200]}; {document.name} is read in its place"
        )

    # --- URLs ---

    def _beside_url(self, url: str, base: Document, fits: Fits) -> Document:
        """What `base` refers to as `url`. It may be on the origin of `base` only."""
        try:
            if urlsplit(base.base).netloc.lower() != urlsplit(url).netloc.lower():
                self._refuse_user_info(url)
                raise BindError(Fault(f"it lies on another host than {base.name}, which is refused", file=url))
            if origin_of(base.base) == origin_of(url) or self.liberties.strict:
                return self._from_url(url)
            return self._likely_url(url, base, fits) or self._from_url(url)  # http for https: TLS ends before it
        except BindError:
            document = self._likely_url(url, base, fits)
            if document is None:
                raise
            return document

    def _likely_url(self, url: str, base: Document, fits: Fits) -> Document | None:
        """The document of the origin of `base` that a wrong URL means, if there is one."""
        if self.liberties.strict or shown(url) != url:
            return None
        for candidate in likely_urls(url, base.base):
            if candidate not in self._open and candidate not in self._failed:
                self._guesses += 1
            if self._guesses > MAX_GUESSES or time.monotonic() > self._until - ALTOGETHER / 2:
                return None
            try:
                document = self._from_url(candidate, fits)
            except FetchError as error:
                if not error.answered:
                    return None
            except BindError:
                continue  # it is something else
            else:
                return document if self._replaced(url, base, document) else None
        return None

    def _refuse_user_info(self, url: str) -> None:
        if shown(url) != url:
            raise BindError(Fault("a URL can't hold a user and password; wsdl_auth names them", file=shown(url)))

    def _from_url(self, url: str, fits: Fits | None = None) -> Document:
        url = url.partition("#")[0]
        document = self._open.get(url)
        if document is not None:
            return _fitting(document, fits)
        self._refuse_user_info(url)
        host = urlsplit(url).netloc.lower()
        for failed in (url, host):
            if failed in self._failed:
                raise self._failed[failed]
        try:
            return self._keep(self._fetched(url), url, url, fits)
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

    def _keep(self, body: bytes, key: str, name: str, fits: Fits | None) -> Document:
        if len(self._open) >= MAX_DOCUMENTS:
            raise BindError(Fault(f"the contract is spread over more than {MAX_DOCUMENTS} files", file=name))
        root = self._parsed(body, key, name)
        url = body.url if isinstance(body, Fetched) and body.url != key else ""
        document = _fitting(Document(root, key, name, url), fits)
        self._hash.update(f"{key}\0{len(body)}\0".encode() + body)
        self._open[key] = document
        return document

    def _parsed(self, body: bytes, key: str, name: str) -> etree._Element:
        """The root of a document; of one that is not well-formed, if that loses little.

        :raises BindError: it is no XML, or can't be fetched (`bridge.api.FetchError`), as publishers are told.
        """
        try:
            return parse_contract(body)
        except XmlError as error:
            reason = str(error)
        repaired = None if self.liberties.strict else parse_repaired(body)
        if repaired is not None:
            for note in repaired[1] or [reason]:
                self.liberties.allow(f"{name}: {note}")
            return repaired[0]
        kind = what_it_is(body)
        reason, line = (f"it is {kind}", 0) if kind else (reason, _line(body))
        if is_url(key):
            raise fetch_error(key, reason, line=line)
        raise BindError(Fault(reason, file=name, line=line))


def _fitting(document: Document, fits: Fits | None) -> Document:
    """:raises BindError: it does not fit."""
    if fits is not None and not fits(document.root):
        raise BindError(Fault("it is another document than the one that is meant", file=document.name))
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
