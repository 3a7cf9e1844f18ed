"""Contracts in the encodings that vendors save them in, and what people save in place of a contract."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import pytest

from bridge.api import BindError
from bridge_soap import Soap
from tests.bridge_soap.test_locations import route
from tests.soap_kit import WSDL_DIR, bind_wsdl

GOOD = (WSDL_DIR / "vat.wsdl").read_text("utf-8")
DECLARATION, BODY = GOOD[: GOOD.index("?>") + 2], GOOD[GOOD.index("?>") + 2 :]
UTF16 = DECLARATION.replace("UTF-8", "utf-16") + BODY
DRAFT = GOOD.replace("http://www.w3.org/2001/XMLSchema", "http://www.w3.org/1999/XMLSchema")
BOM = b"\xef\xbb\xbf"


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("vat.wsdl", GOOD)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xfe" + UTF16.encode("utf-16-le"),
        b"\xfe\xff" + UTF16.encode("utf-16-be"),
        b"\xff\xfe" + GOOD.encode("utf-16-le"),  # says UTF-8
        b"\xff\xfe" + ("\r\n\r\n" + UTF16).encode("utf-16-le"),
        b"\xff\xfe" + UTF16.replace("?>", "?><!DOCTYPE x [<!ENTITY e 'x'>]>", 1).encode("utf-16-le"),
        b"\xff\xfe" + DRAFT.encode("utf-16-le"),
        BOM + GOOD.encode(),
        BOM + b"\r\n\r\n" + GOOD.encode(),
        b"\r\n" + GOOD.encode(),
        (DECLARATION.replace("UTF-8", "windows-1252") + "<!-- \u2013 -->" + BODY).encode("cp1252"),
    ],
    ids=["le", "be", "says UTF-8", "blank lines", "entities", "draft", "BOM", "BOM and lines", "lines", "windows"],
)
async def test_contracts_in_every_encoding_are_read(tmp_path: Path, body: bytes) -> None:
    soap = Soap()
    (tmp_path / "a.wsdl").write_bytes(body)
    assert len(await bind_wsdl(tmp_path, "a.wsdl", soap=soap, options={"strict": True})) == 1


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (UTF16.encode(), "a.wsdl: it names the encoding utf-16"),
        ((DECLARATION + "<!-- \u00e9 -->" + BODY).encode("latin-1"), "it names the encoding utf-8"),
        (GOOD.replace("UTF-8", "unicode").encode(), "it names the encoding unicode"),
        (GOOD.encode() + b"\0\0\0", "a.wsdl: "),
        (b"\xc2\xa0" + GOOD.encode(), "a.wsdl: "),
    ],
    ids=["UTF-16", "latin-1", "unknown", "zeros behind", "a space before"],
)
async def test_what_is_nearly_xml_is_read_with_a_warning(tmp_path: Path, body: bytes, told: str) -> None:
    soap = Soap()
    (tmp_path / "a.wsdl").write_bytes(body)
    assert len(await bind_wsdl(tmp_path, "a.wsdl", soap=soap)) == 1
    assert told in soap.advice(route("a.wsdl"))[0]
    with pytest.raises(BindError, match="it is not well-formed XML"):
        await bind_wsdl(tmp_path, "a.wsdl", options={"strict": True})


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (zipped(), "a.wsdl: it is a ZIP archive; unpack it"),
        (gzip.compress(b"no contract", mtime=0), "a.wsdl: it is compressed with gzip"),
        (b"<!DOCTYPE html>\n<html><body><p>Hi<br></body></html>", "a.wsdl: it is an HTML page"),
        (b"\r\n<HTML><body>You have created a service.<p></body></HTML>", "a.wsdl: it is an HTML page"),
        (b'<html xmlns="http://www.w3.org/1999/xhtml"><head/><body/></html>', "HTML page"),
        (b" \r\n", "a.wsdl: it is empty"),
        (b"Not Found", "a.wsdl: it is no XML"),
        (b'{"openapi": "3.1.0"}', "a.wsdl: it is JSON"),
        (b"%PDF-1.7", "a.wsdl: it is a PDF document"),
        (b'<description xmlns="http://www.w3.org/ns/wsdl"/>', "WSDL 2.0 is not read"),
        (b'<definitions xmlns="http://www.w3.org/2004/08/wsdl"/>', "WSDL 2.0 is not read"),
        (b"<definitions/>", "its root is definitions of no namespace"),
        (b'<schema xmlns="http://www.w3.org/2001/XMLSchema"/>', "name the WSDL that imports it"),
        (b'<discovery xmlns="http://schemas.xmlsoap.org/disco/"/>', "name the WSDL that it refers to"),
    ],
    # The same in every process: archives hold the time.
    ids=[
        "ZIP", "gzip", "HTML", "HTML in capitals", "XHTML", "blank", "text", "JSON", "PDF", "WSDL 2.0", "draft of 2.0",
        "no namespace", "schema", "DISCO",
    ],
)  # fmt: skip
async def test_what_is_no_contract_is_told_by_name(tmp_path: Path, body: bytes, told: str) -> None:
    (tmp_path / "a.wsdl").write_bytes(body)
    with pytest.raises(BindError) as caught:
        await bind_wsdl(tmp_path, "a.wsdl")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
