"""A contract's documents as files below ``wsdl/``, so that a spec needs neither their server nor their first place."""

from __future__ import annotations

import copy
import os
import posixpath
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from lxml import etree

from bridge.api import BindError, Fault, ImportOutput
from bridge_soap.documents import Document, Library
from bridge_soap.names import WSDL, tag_of, xsd

#: The attribute that refers to another document, by the element.
_REFERENCES = {
    f"{{{WSDL}}}import": "location",
    xsd("import"): "schemaLocation",
    xsd("include"): "schemaLocation",
    xsd("redefine"): "schemaLocation",
}
_WORD = re.compile(r"[^A-Za-z0-9._-]+")
_MAX_NAME = 100  #: characters of a name that is made of a URL


def save_contract(library: Library, wsdl_dir: Path, output: ImportOutput) -> str:
    """Have all documents of `library` saved, and references between them changed to the names of the copies.

    :returns: the WSDL's name below `wsdl_dir`.
    :raises bridge.api.BindError: a document can't be read any more.
    """
    documents = library.documents
    main = documents[0]
    names = _names_of_urls(documents) if main.is_url else _names_of_files(documents)
    contents = {names[each.id]: _content(each, names, library.links) for each in documents}
    stem = PurePosixPath(names[main.id]).stem
    folder = "" if output.replaces or not any(_differs(wsdl_dir / name, contents[name]) for name in contents) else stem
    # In a folder of its own where wsdl/ has other files of these names.
    output.files |= {posixpath.join(wsdl_dir.name, folder, name): content for name, content in contents.items()}
    return posixpath.join(folder, names[main.id])


def _differs(file: Path, content: bytes) -> bool:
    try:
        return file.read_bytes() != content
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _names_of_files(documents: list[Document]) -> dict[str, str]:
    """Names by path: the tree is kept, from the folder that holds all."""
    root = os.path.commonpath([Path(each.id).parent for each in documents])
    return {each.id: Path(each.id).relative_to(root).as_posix() for each in documents}


def _names_of_urls(documents: list[Document]) -> dict[str, str]:
    """Names by URL: ``https://h/a/Tally.svc?wsdl`` is ``Tally.wsdl``, and what it imports is below ``Tally/``."""
    main, *others = documents
    stem = _stem(main.id, ("wsdl", "singlewsdl")) or "service"
    names = {main.id: f"{stem}.wsdl"}
    used = set(names.values())
    for each in others:
        suffix = ".xsd" if each.root.tag == xsd("schema") else ".wsdl"
        base = name = _stem(each.id, ()) or "document"
        number = 1
        while f"{stem}/{name}{suffix}".lower() in used:
            number += 1
            name = f"{base}-{number}"
        names[each.id] = f"{stem}/{name}{suffix}"
        used.add(names[each.id].lower())
    return names


def _stem(url: str, dropped: tuple[str, ...]) -> str:
    parts = urlsplit(url)
    last = unquote(parts.path).rstrip("/").rpartition("/")[2]
    text = last.rpartition(".")[0] or last
    if parts.query and parts.query.lower() not in dropped:
        text += f"-{unquote(parts.query)}"
    return _WORD.sub("-", text).strip("-.")[:_MAX_NAME]


def _content(document: Document, names: Mapping[str, str], links: Mapping[tuple[str, str], str]) -> bytes:
    """The document with its references changed to where their documents are saved; unchanged where they are right."""
    folder = posixpath.dirname(names[document.id])
    changes: dict[int, tuple[str, str]] = {}
    for number, node in enumerate(document.root.iter("*")):
        attribute = _REFERENCES.get(tag_of(node))
        if attribute is None:
            continue
        reference = node.get(attribute, "").strip()
        target = links.get((document.id, reference)) if reference else None
        if target is None and tag_of(node) == xsd("import"):
            target = links.get((document.id, node.get("namespace", "").strip()))
        if target is not None and target in names:
            name = posixpath.relpath(names[target], folder)
            if not reference or name != posixpath.normpath(reference):
                changes[number] = (attribute, name)
    if not document.is_url and not changes:
        try:
            return Path(document.id).read_bytes()
        except OSError as error:
            raise BindError(Fault(f"it can't be read: {error.strerror}", file=document.name)) from None
    root = copy.deepcopy(document.root)
    for number, node in enumerate(root.iter("*")):
        if number in changes:
            attribute, name = changes[number]
            node.set(attribute, name)
    return etree.tostring(root, encoding="utf-8", xml_declaration=True)
