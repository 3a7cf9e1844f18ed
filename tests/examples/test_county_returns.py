"""The SOAP service and its WSDL, through zeep: neither of the two may say what the other doesn't."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import zeep
import zeep.exceptions
from lxml import etree

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "{https://elections.tamarack.example/returns/2026}"
SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
XS = "{http://www.w3.org/2001/XMLSchema}"


@pytest.fixture(scope="module")
def service(start: Callable[[str], Any]) -> Any:
    return start("county_returns")


@pytest.fixture(scope="module")
def client(service: Any) -> Any:
    """A client made from the committed WSDL, with only the address exchanged, as the mesh does."""
    made = zeep.Client(str(ROOT / "wsdl" / "county-returns.wsdl"))
    url = f"http://127.0.0.1:{service.port}/county-returns"
    return made.create_service(f"{NAMESPACE}CountyReturns", url)


def test_returns(client: Any) -> None:
    got = client.GetCountyReturns(countyFips="91001")
    assert (got.countyName, got.status, got.precinctsTotal, got.precinctsReporting) == ("Alder", "UNOFFICIAL", 5, 4)
    assert (got.registeredVoters, got.ballotsCast, got.turnout) == (7574, 4556, Decimal("60.15"))
    assert got.reportedAt.isoformat() == "2026-11-03T21:17:40-06:00"
    assert [(one.code, one.votes) for one in got.candidate] == [
        ("WHITCOMB", 2357),
        ("OKAFOR", 2054),
        ("LINDQVIST", 145),
    ]
    assert sum(one.votes for one in got.candidate) == got.ballotsCast
    assert [str(one.percent) for one in got.candidate] == ["51.73", "45.08", "3.18"]


def test_precincts(client: Any) -> None:
    every = client.ListPrecincts(countyFips="91001").precinct
    assert [one.id for one in every] == ["001", "002", "003", "004", "005"]
    assert every[3].name == "St. Brigid & Old Quay"
    assert (every[4].reporting, every[4].ballotsCast, every[4].reportedAt) == (False, None, None)
    assert len(client.ListPrecincts(countyFips="91001", reportingOnly=True).precinct) == 4


def test_certification(client: Any) -> None:
    got = client.CertifyPrecinct(countyFips="91001", precinctId="004", certifiedBy="R. Sandoval")
    assert (got.certificateNumber, got.certifiedBy, got.status) == ("TAM-2026-91001-004", "R. Sandoval", "CERTIFIED")
    assert got.certifiedAt.utcoffset() == timedelta(hours=-6)
    assert abs(datetime.now(got.certifiedAt.tzinfo) - got.certifiedAt) < timedelta(minutes=1)
    with pytest.raises(zeep.exceptions.Fault, match="has not reported"):
        client.CertifyPrecinct(countyFips="91001", precinctId="005", certifiedBy="R. Sandoval")


def test_an_unknown_county_is_the_declared_fault(client: Any) -> None:
    with pytest.raises(zeep.exceptions.Fault, match="code 91999") as caught:
        client.GetCountyReturns(countyFips="91999")
    detail: Any = caught.value.detail
    (unknown,) = detail
    assert unknown.tag == f"{NAMESPACE}UnknownCounty"
    _schema().assertValid(unknown)
    assert [one.text for one in unknown] == ["91999", "91001", "91003", "91005"]


def _schema() -> etree.XMLSchema:
    wsdl = etree.parse(ROOT / "wsdl" / "county-returns.wsdl")
    (schema,) = wsdl.iter(f"{XS}schema")
    return etree.XMLSchema(etree.fromstring(etree.tostring(schema)))  # with the prefixes declared around it


def test_answers_are_valid_by_the_committed_wsdl(client: Any, service: Any) -> None:
    client.GetCountyReturns(countyFips="91003")
    client.ListPrecincts(countyFips="91001")
    schema = _schema()
    for exchange in service.exchanges()[-2:]:
        for text in (exchange["request"], exchange["reply"]):
            envelope = etree.fromstring(text.encode())
            body = envelope.find("{http://schemas.xmlsoap.org/soap/envelope/}Body")
            assert body is not None
            schema.assertValid(body[0])


def test_it_serves_the_committed_wsdl_with_its_own_address(service: Any) -> None:
    url = f"http://127.0.0.1:{service.port}/county-returns"
    answer = httpx.get(f"{url}?wsdl")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/xml; charset=utf-8")
    committed = etree.parse(ROOT / "wsdl" / "county-returns.wsdl")
    (address,) = committed.iter("{http://schemas.xmlsoap.org/wsdl/soap/}address")
    address.set("location", url)
    assert etree.tostring(etree.fromstring(answer.content), method="c14n") == etree.tostring(
        committed.getroot(), method="c14n"
    )


def _envelope(body: str, header: str = "", namespace: str = SOAP) -> str:
    return f'<s:Envelope xmlns:s="{namespace}" xmlns:r="{NAMESPACE[1:-1]}">{header}<s:Body>{body}</s:Body></s:Envelope>'


ASKED = "<r:GetCountyReturns><r:countyFips>91001</r:countyFips></r:GetCountyReturns>"
SECURITY = '<s:Header><x:Security xmlns:x="urn:x" s:mustUnderstand="1"/></s:Header>'

#: A request that must be refused, the fault's code, and what its sentence must say.
REFUSED = {
    "empty": ("", "Client", "not well-formed"),
    "not XML": ('{"countyFips": "91001"}', "Client", "not well-formed"),
    "cut off": (_envelope(ASKED)[:-20], "Client", "not well-formed"),
    "deep": (_envelope("<a>" * 400 + "</a>" * 400), "Client", "not well-formed"),
    "DOCTYPE": ("<!DOCTYPE x>" + _envelope(ASKED), "Client", "document type declaration"),
    "external DTD": ('<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd">' + _envelope(ASKED), "Client", "document type"),
    "entity": (
        '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]>' + _envelope(ASKED.replace("91001", "&e;")),
        "Client",
        "document type declaration",
    ),
    "no envelope": (f'<r:GetCountyReturns xmlns:r="{NAMESPACE[1:-1]}"/>', "Client", "must be a SOAP 1.1 envelope"),
    "SOAP 1.2": (
        _envelope(ASKED, namespace="http://www.w3.org/2003/05/soap-envelope"),
        "VersionMismatch",
        "must be a SOAP 1.1 envelope",
    ),
    "a header to be understood": (_envelope(ASKED, SECURITY), "MustUnderstand", "{urn:x}Security"),
    "no body": (f'<s:Envelope xmlns:s="{SOAP}"/>', "Client", "holds 0"),
    "two elements": (_envelope(ASKED * 2), "Client", "holds 2"),
    "unknown operation": (_envelope("<r:Recount/>"), "Client", "Recount"),
    "a reply as a request": (_envelope("<r:GetCountyReturnsResponse/>"), "Client", "GetCountyReturnsResponse"),
    "forbidden value": (_envelope(ASKED.replace("91001", "9100x")), "Client", "9100x"),
    "missing element": (_envelope("<r:GetCountyReturns/>"), "Client", "Missing child element"),
    "unexpected element": (_envelope(ASKED.replace("</r:Get", "<r:x/></r:Get")), "Client", "not expected"),
    "too large": (_envelope(ASKED) + " " * 70_000, "Client", "larger than 65536 bytes"),
    "much too large": (_envelope(ASKED) + " " * 9_000_000, "Client", "larger than 65536 bytes"),
}


def _post(service: Any, content: Any) -> httpx.Response:
    url = f"http://127.0.0.1:{service.port}/county-returns"
    return httpx.post(url, content=content, headers={"Content-Type": "text/xml; charset=utf-8"}, timeout=20)


def _fault(answer: httpx.Response) -> tuple[str, str]:
    """Code and sentence of the fault that the answer must be."""
    assert (answer.status_code, answer.headers["content-type"]) == (500, "text/xml; charset=utf-8")
    envelope = etree.fromstring(answer.content)
    assert envelope.tag == f"{{{SOAP}}}Envelope"
    (fault,) = envelope.iterfind(f"{{{SOAP}}}Body/*")
    assert fault.tag == f"{{{SOAP}}}Fault"
    prefix, _, code = fault.findtext("faultcode", "").partition(":")
    assert fault.nsmap[prefix] == SOAP
    return code, fault.findtext("faultstring", "")


@pytest.mark.parametrize(("document", "code", "says"), REFUSED.values(), ids=REFUSED)
def test_a_wrong_request_gets_a_fault(service: Any, document: str, code: str, says: str) -> None:
    found, sentence = _fault(_post(service, document.encode()))
    assert found == code
    assert says in sentence
    assert _post(service, _envelope(ASKED).encode()).status_code == 200


def test_a_request_of_unknown_length_gets_a_fault(service: Any) -> None:
    assert _fault(_post(service, iter([_envelope(ASKED).encode()]))) == (
        "Client",
        "The request must declare its length in Content-Length.",
    )


def test_a_value_is_what_the_schema_saw(service: Any) -> None:
    """A comment or CDATA within a value does not hide a part of it from the operation."""
    for written in ("91<!-- x -->001", "<![CDATA[91]]>001", "<?x?>91001"):
        answer = _post(service, _envelope(ASKED.replace("91001", written)).encode())
        assert answer.status_code == 200, answer.text
        assert ">91001<" in answer.text


def test_a_header_for_somebody_else_is_passed_over(service: Any) -> None:
    for header in (SECURITY.replace('"1"', '"0"'), SECURITY.replace("s:must", 's:actor="urn:audit" s:must')):
        assert _post(service, _envelope(ASKED, header).encode()).status_code == 200


def test_other_methods_and_paths_are_no_calls(service: Any) -> None:
    url = f"http://127.0.0.1:{service.port}/county-returns"
    assert httpx.get(f"{url}-of-2022").status_code == 404
    for method in ("GET", "PUT", "DELETE"):
        answer = httpx.request(method, url)
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_a_port_in_use_is_one_sentence(service: Any) -> None:
    for name in ("county_returns", "ballot_count"):
        script = ROOT / "examples" / "election_night" / "services" / f"{name}.py"
        got = subprocess.run(
            [sys.executable, str(script), "--port", str(service.port)],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert got.returncode == 1
        assert got.stderr.count("\n") == 1
        assert f"port {service.port} on 127.0.0.1 can't be had" in got.stderr
