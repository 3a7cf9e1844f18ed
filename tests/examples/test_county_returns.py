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


def test_the_committed_wsdl_says_what_the_service_says(service: Any) -> None:
    """Operations, actions and wrapper elements are those of the WSDL that spyne makes by itself."""
    served = etree.fromstring(httpx.get(f"http://127.0.0.1:{service.port}/county-returns?wsdl").content)
    ours = etree.parse(ROOT / "wsdl" / "county-returns.wsdl").getroot()

    def facts(wsdl: Any) -> dict[str, Any]:
        soap = "{http://schemas.xmlsoap.org/wsdl/soap/}"
        wsdl_ns = "{http://schemas.xmlsoap.org/wsdl/}"
        return {
            "namespace": wsdl.get("targetNamespace"),
            "actions": sorted(one.get("soapAction") for one in wsdl.iter(f"{soap}operation")),
            "messages": {
                one.get("name"): one[0].get("element").partition(":")[2] for one in wsdl.iter(f"{wsdl_ns}message")
            },
        }

    assert facts(ours) == facts(served)


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
