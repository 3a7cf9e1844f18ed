"""County returns over SOAP 1.1, document/literal wrapped: a service as a state's vendor would have built it in 2009.

    python examples/election_night/services/county_returns.py --port 8001

Its contract is ``wsdl/county-returns.wsdl``.
"""

# pyright: reportGeneralTypeIssues=false
# spyne publishes no types: its metaclasses make the base classes at run time.
from __future__ import annotations

import logging
from datetime import datetime, timedelta, timezone
from typing import Any, cast

from figures import COUNTIES, GOVERNOR, County, percent
from lxml import etree
from serving import arguments, serve_wsgi
from spyne import (
    Application,
    Boolean,
    ComplexModel,
    DateTime,
    Fault,
    Integer32,
    Long,
    ServiceBase,
    Unicode,
    XmlAttribute,
    rpc,
)
from spyne import Decimal as XsdDecimal
from spyne.protocol.soap import Soap11
from spyne.server.wsgi import WsgiApplication
from wire import Wire, Wsgi

NAMESPACE = "https://elections.tamarack.example/returns/2026"
ZONE = timezone(timedelta(hours=-6))

CountyFips = Unicode(pattern=r"\d{5}", type_name="CountyFips")
Status = Unicode(values=["UNOFFICIAL", "CERTIFIED"], type_name="ReturnsStatus")
Percent = XsdDecimal(fraction_digits=2, type_name="Percent")


class CandidateReturn(ComplexModel):
    __namespace__ = NAMESPACE
    code = XmlAttribute(Unicode(type_name="CandidateCode"), use="required")
    name = Unicode(min_occurs=1)
    party = Unicode(min_occurs=1)
    votes = Integer32(min_occurs=1)
    percent = Percent(min_occurs=1)


class CountyReturns(ComplexModel):
    __namespace__ = NAMESPACE
    countyFips = CountyFips(min_occurs=1)
    countyName = Unicode(min_occurs=1)
    office = Unicode(min_occurs=1)
    status = Status(min_occurs=1)
    reportedAt = DateTime(min_occurs=1)
    precinctsTotal = Integer32(min_occurs=1)
    precinctsReporting = Integer32(min_occurs=1)
    registeredVoters = Long(min_occurs=1)
    ballotsCast = Long(min_occurs=1)
    turnout = Percent(min_occurs=1)
    candidate = CandidateReturn.customize(max_occurs="unbounded")


class Precinct(ComplexModel):
    __namespace__ = NAMESPACE
    id = XmlAttribute(Unicode(type_name="PrecinctId"), use="required")
    name = Unicode(min_occurs=1)
    reporting = Boolean(min_occurs=1)
    registeredVoters = Integer32(min_occurs=1)
    ballotsCast = Integer32(nillable=True, min_occurs=1)
    reportedAt = DateTime


class PrecinctList(ComplexModel):
    __namespace__ = NAMESPACE
    countyName = Unicode(min_occurs=1)
    precinct = Precinct.customize(max_occurs="unbounded")


class Certification(ComplexModel):
    __namespace__ = NAMESPACE
    certificateNumber = Unicode(min_occurs=1)
    precinctId = Unicode(min_occurs=1)
    certifiedBy = Unicode(min_occurs=1)
    certifiedAt = DateTime(min_occurs=1)
    status = Status(min_occurs=1)


class UnknownCounty(Fault):
    """The fault that the contract declares: its detail names the county asked for and those there are."""

    __namespace__ = NAMESPACE

    def __init__(self, asked: str) -> None:
        detail = etree.Element(f"{{{NAMESPACE}}}UnknownCounty", nsmap={"ret": NAMESPACE})
        etree.SubElement(detail, f"{{{NAMESPACE}}}countyFips").text = asked
        for fips in COUNTIES:
            etree.SubElement(detail, f"{{{NAMESPACE}}}knownCounty").text = fips
        super().__init__("Client", f"No county of this state has the code {asked}.", detail=detail)


def _county(fips: str) -> County:
    if fips not in COUNTIES:
        raise UnknownCounty(fips)
    return COUNTIES[fips]


class Returns(ServiceBase):
    @rpc(
        CountyFips(min_occurs=1),
        _returns=CountyReturns,
        _out_variable_name="returns",
        _throws=UnknownCounty,
    )
    def GetCountyReturns(ctx: Any, countyFips: str) -> Any:
        county = _county(countyFips)
        return CountyReturns(
            countyFips=county.fips,
            countyName=county.name,
            office="Governor",
            status="UNOFFICIAL",
            reportedAt=county.reported_at,
            precinctsTotal=len(county.precincts),
            precinctsReporting=len(county.reporting),
            registeredVoters=county.registered,
            ballotsCast=county.ballots,
            turnout=percent(county.ballots, county.registered),
            candidate=[
                CandidateReturn(
                    code=one.code,
                    name=one.name,
                    party=one.party,
                    votes=votes,
                    percent=percent(votes, county.ballots),
                )
                for one, votes in zip(GOVERNOR, county.votes, strict=True)
            ],
        )

    @rpc(
        CountyFips(min_occurs=1),
        Boolean,
        _returns=PrecinctList,
        _out_variable_name="precincts",
        _throws=UnknownCounty,
    )
    def ListPrecincts(ctx: Any, countyFips: str, reportingOnly: bool | None) -> Any:
        county = _county(countyFips)
        shown = county.reporting if reportingOnly else county.precincts
        return PrecinctList(
            countyName=county.name,
            precinct=[
                Precinct(
                    id=one.id,
                    name=one.name,
                    reporting=one.reported_at is not None,
                    registeredVoters=one.registered,
                    ballotsCast=one.ballots if one.reported_at else None,
                    reportedAt=one.reported_at,
                )
                for one in shown
            ],
        )

    @rpc(
        CountyFips(min_occurs=1),
        Unicode(min_occurs=1),
        Unicode(min_occurs=1),
        _returns=Certification,
        _out_variable_name="certification",
        _throws=UnknownCounty,
    )
    def CertifyPrecinct(ctx: Any, countyFips: str, precinctId: str, certifiedBy: str) -> Any:
        county = _county(countyFips)
        if precinctId not in {one.id for one in county.reporting}:
            raise Fault("Client", f"Precinct {precinctId} of {county.name} County has not reported.")
        return Certification(
            certificateNumber=f"TAM-2026-{county.fips}-{precinctId}",
            precinctId=precinctId,
            certifiedBy=certifiedBy,
            certifiedAt=datetime.now(ZONE).replace(microsecond=0),
            status="CERTIFIED",
        )


def application() -> Wsgi:
    spyne = Application(
        [Returns],
        tns=NAMESPACE,
        name="CountyReturns",
        in_protocol=Soap11(validator="lxml"),
        out_protocol=Soap11(),
    )
    app: Any = WsgiApplication(spyne)
    return cast(Wsgi, app)


if __name__ == "__main__":
    # spyne logs every fault with its traceback; a refused county is no accident.
    logging.getLogger("spyne").setLevel(logging.CRITICAL + 1)
    given = arguments("County returns over SOAP 1.1.")
    serve_wsgi(application(), given.port, Wire(given.wire))
