"""Which replies are SOAP Faults, by their beginnings alone."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.http.coding import ZSTD
from bridge.payload.soap_fault import BEGINNING, SoapFault, soap_fault

V11, V12 = "http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope"
FAULT11 = "<s:Fault><faultcode>s:Client</faultcode><faultstring>No\n order é</faultstring>{}</s:Fault>"
FAULT12 = (
    "<s:Fault><s:Code><s:Value>s:Receiver</s:Value></s:Code><s:Reason><s:Text xml:lang='en'>Away</s:Text></s:Reason>"
    "</s:Fault>"
)


def envelope(body: str, namespace: str = V11, header: str = "") -> str:
    return f'<s:Envelope xmlns:s="{namespace}">{header}<s:Body>{body}</s:Body></s:Envelope>'


ONE = envelope(FAULT11.format("<detail><a/></detail>"))
CLIENT = SoapFault("Client", "No order é")
PART = b"--b\r\nContent-Type: %s\r\nContent-ID: <a@x>\r\n\r\n%s\r\n--b\r\nContent-ID: <c@x>\r\n\r\nxyz\r\n--b--\r\n"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (ONE.encode(), "text/xml; charset=utf-8"),
        (ONE.encode(), ""),
        (ONE.encode(), "text/plain"),
        (b'\r\n<?xml version="1.0"?>' + ONE.encode(), "text/xml"),
        (b"\xef\xbb\xbf" + ONE.encode(), "text/xml"),
        (ONE.encode("iso-8859-1"), 'text/xml; charset="ISO-8859-1"'),
        (b'<?xml version="1.0" encoding="utf-8"?>' + ONE.encode("iso-8859-1"), "text/xml; charset=iso-8859-1"),
        (f'<?xml version="1.0" encoding="iso-8859-1"?>{ONE}'.encode("iso-8859-1"), "text/xml"),
        (ONE.encode("utf-16"), "text/xml; charset=utf-16"),
        (ONE.encode("utf-16-le"), "text/xml; charset=utf-16le"),
        (f'<?xml version="1.0" encoding="utf-16"?>{ONE}'.encode("utf-16-be"), "text/xml; charset=utf-8"),
        (ONE.encode(), "text/xml; charset=nobody-knows"),
        (ONE.encode(), "text/xml; charset=us-ascii"),
        (envelope("<!-- c -->" + FAULT11.format(""), header="<s:Header><a/></s:Header>").encode(), "text/xml"),
        (PART % (b"text/xml", ONE.encode()), "multipart/related; boundary=b"),
        (PART % (b"text/xml; charset=iso-8859-1", ONE.encode("iso-8859-1")), 'Multipart/Related;boundary="b"'),
        (b"preamble\n--b\n\n" + ONE.encode() + b"\n--b--", "multipart/related; boundary=b; start=nobody"),
        (
            b"--b\r\nContent-ID: <c@x>\r\n\r\nxyz\r\n--b\r\nContent-ID: <a@x>\r\n\r\n" + ONE.encode() + b"\r\n--b--",
            'multipart/related; type="application/xop+xml"; start="<a@x>"; boundary="b"',
        ),
    ],
)
def test_what_is_one(body: bytes, content_type: str) -> None:
    assert soap_fault(body, content_type) == CLIENT


def test_soap_12() -> None:
    found = soap_fault(envelope(FAULT12, V12).encode(), "application/soap+xml; action=x")
    assert found == SoapFault("Receiver", "Away")
    assert not SoapFault("Receiver", "Away").is_clients


@pytest.mark.parametrize("code", ["s:Client", "Client", "s:Sender", "soap:Client.Authentication"])
def test_who_is_blamed(code: str) -> None:
    found = soap_fault(ONE.replace("s:Client", code).encode(), "text/xml")
    assert found is not None
    assert found.is_clients


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b"{}",
        b"<html><body>Service Unavailable</body></html>",
        b"<html>" + ONE.encode(),
        envelope("<ok/>").encode(),
        envelope(f"<ok>{FAULT11.format('')}</ok>").encode(),
        envelope("", header=FAULT11.format("")).encode(),
        f"<more>{ONE}</more>".encode(),
        ONE.replace(V11, "urn:other").encode(),
        ONE.replace("Envelope", "envelope").encode(),
        ONE.replace("<s:Body>", f'<s:Body xmlns:s="{V12}">').replace("</s:Body>", "</s:Body>").encode(),
        b"<!DOCTYPE s [<!ENTITY a 'b'>]>" + ONE.encode(),
        b"<!DOCTYPE s SYSTEM 'file:///etc/hostname'>" + ONE.encode(),
        ONE.encode("iso-8859-1"),
        ONE.replace("order", "&nbsp;").encode(),
        (ONE + "<<").encode(),
        ("<s:Envelope xmlns:s='" + V11 + "'>" + "<a>" * 3000).encode(),
    ],
)
def test_what_is_none(body: bytes) -> None:
    assert soap_fault(body, "text/xml") is None


@pytest.mark.parametrize(
    "kind", ["multipart/related", "multipart/related; boundary=c", 'multipart/related; boundary=""']
)
def test_a_multipart_message_without_an_envelope(kind: str) -> None:
    assert soap_fault(PART % (b"text/xml", ONE.encode()), kind) is None
    assert soap_fault(PART % (b"text/html", b"<html/>"), "multipart/related; boundary=b") is None


def test_content_codings() -> None:
    large = envelope(FAULT11.format("<detail>" + "<a>x</a>" * 100_000 + "</detail>")).encode()
    for body in (ONE.encode(), large):
        assert soap_fault(gzip.compress(body), "text/xml", "gzip") == CLIENT
        assert soap_fault(zlib.compress(body), "text/xml", "deflate") == CLIENT
        assert soap_fault(zlib.compress(body, wbits=-15), "text/xml", "deflate") == CLIENT
        assert soap_fault(gzip.compress(zlib.compress(body)), "text/xml", "deflate, gzip") == CLIENT
        if ZSTD:
            assert soap_fault(ZSTD.compress(body), "text/xml", "zstd") == CLIENT
    for coding in ("br", "gzip", "deflate", "zstd", "gzip, gzip, gzip, gzip"):
        assert soap_fault(ONE.encode(), "text/xml", coding) is None


def test_only_the_beginning_counts() -> None:
    """A Fault may go on for ever; what stands before it may not."""
    endless = ONE.partition("<a/>")[0] + "<a>" + "x" * 40_000_000
    assert soap_fault(endless.encode(), "text/xml") == CLIENT
    header = "<s:Header>" + "<a>é</a>" * (BEGINNING // 8) + "</s:Header>"
    assert soap_fault(envelope(FAULT11.format(""), header=header).encode(), "text/xml") is None
    bomb = gzip.compress(b" " * 50_000_000)
    assert soap_fault(bomb, "text/xml", "gzip") is None


def test_a_reason_is_kept_short() -> None:
    found = soap_fault(ONE.replace("order", "x" * 50_000).encode(), "text/xml")
    assert found is not None
    assert len(found.reason) == 200
    assert soap_fault(envelope("<s:Fault/>").encode(), "text/xml") == SoapFault("", "")


KINDS = st.one_of(
    st.sampled_from(["text/xml", 'multipart/related; boundary="b"; start="<a@x>"', "multipart/related; boundary=<"]),
    st.from_regex(r"text/xml; charset=[A-Za-z0-9._:-]{1,12}", fullmatch=True),
    st.text(st.characters(max_codepoint=255), max_size=60),
)
CODINGS = st.sampled_from(["", "gzip", "deflate", "zstd", "gzip, deflate", "identity", "br"])
SEEDS = [ONE.encode(), ONE.encode("utf-16"), PART % (b"text/xml", ONE.encode()), gzip.compress(ONE.encode())]


@given(st.data(), KINDS, CODINGS)
def test_whatever_comes_it_is_one_or_none(data: st.DataObject, kind: str, coding: str) -> None:
    seed = data.draw(st.sampled_from([*SEEDS, data.draw(st.binary(max_size=200))]))
    at, size = data.draw(st.integers(0, len(seed))), data.draw(st.integers(0, 40))
    body = seed[:at] + data.draw(st.binary(max_size=12)) + seed[at + size :]
    found = soap_fault(body, kind, coding)
    assert found is None or (len(found.code) <= 200 and len(found.reason) <= 200)
