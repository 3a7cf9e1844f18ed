"""County returns over SOAP 1.1, document/literal wrapped: a service in the style of a state's vendor.

    python examples/election_night/services/county_returns.py --port 8001

Its contract is ``wsdl/county-returns.wsdl``: the service reads it when it starts, and serves it at ``?wsdl``.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

from figures import COUNTIES, GOVERNOR, County, percent
from serving import arguments, serve_wsgi
from soap import NIL, Element, Fault, SoapService, maker
from wire import Wire

WSDL = Path(__file__).resolve().parents[3] / "wsdl" / "county-returns.wsdl"
NAMESPACE = "https://elections.tamarack.example/returns/2026"
ZONE = timezone(timedelta(hours=-6))

E = maker(NAMESPACE, "tns")


def get_county_returns(request: Element) -> Element:
    county = _county(request)
    return E.GetCountyReturnsResponse(
        E.returns(
            E.countyFips(county.fips),
            E.countyName(county.name),
            E.office("Governor"),
            E.status("UNOFFICIAL"),
            E.reportedAt(county.reported_at),
            E.precinctsTotal(len(county.precincts)),
            E.precinctsReporting(len(county.reporting)),
            E.registeredVoters(county.registered),
            E.ballotsCast(county.ballots),
            E.turnout(percent(county.ballots, county.registered)),
            *(
                E.candidate(
                    E.name(one.name),
                    E.party(one.party),
                    E.votes(votes),
                    E.percent(percent(votes, county.ballots)),
                    code=one.code,
                )
                for one, votes in zip(GOVERNOR, county.votes, strict=True)
            ),
        )
    )


def list_precincts(request: Element) -> Element:
    county = _county(request)
    reporting_only = _text(request, "reportingOnly").strip() in ("true", "1")
    return E.ListPrecinctsResponse(
        E.precincts(
            E.countyName(county.name),
            *(
                E.precinct(
                    E.name(one.name),
                    E.reporting(one.reported_at is not None),
                    E.registeredVoters(one.registered),
                    E.ballotsCast(one.ballots if one.reported_at else NIL),
                    *([E.reportedAt(one.reported_at)] if one.reported_at else []),
                    id=one.id,
                )
                for one in (county.reporting if reporting_only else county.precincts)
            ),
        )
    )


def certify_precinct(request: Element) -> Element:
    county = _county(request)
    precinct = _text(request, "precinctId")
    if precinct not in {one.id for one in county.reporting}:
        raise Fault("Client", f"Precinct {precinct} of {county.name} County has not reported.")
    return E.CertifyPrecinctResponse(
        E.certification(
            E.certificateNumber(f"TAM-2026-{county.fips}-{precinct}"),
            E.precinctId(precinct),
            E.certifiedBy(_text(request, "certifiedBy")),
            E.certifiedAt(datetime.now(ZONE).replace(microsecond=0)),
            E.status("CERTIFIED"),
        )
    )


def _text(request: Element, name: str) -> str:
    """The text of one of the request's elements; ``""`` if it is left out."""
    return request.findtext(f"{{{NAMESPACE}}}{name}", "")


def _county(request: Element) -> County:
    """The county that the request names.

    :raises Fault: it does not exist; the detail, as declared in the contract, lists the known ones.
    """
    fips = _text(request, "countyFips")
    if fips not in COUNTIES:
        detail = E.UnknownCounty(E.countyFips(fips), *(E.knownCounty(code) for code in COUNTIES))
        raise Fault("Client", f"No county of this state has the code {fips}.", detail)
    return COUNTIES[fips]


if __name__ == "__main__":
    options = arguments("County returns over SOAP 1.1.")
    service = SoapService(
        WSDL,
        {
            "GetCountyReturns": get_county_returns,
            "ListPrecincts": list_precincts,
            "CertifyPrecinct": certify_precinct,
        },
    )
    serve_wsgi(service, options.port, Wire(options.wire))
