"""The state's results feed: plain XML over HTTP, without a schema, as newspapers have used it for years.

    python examples/election_night/services/results_feed.py --port 8003

``GET /feed/races/governor`` and ``GET /feed/races/register-of-deeds``, a race with one candidate.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import xmltodict
from figures import COUNTIES, GOVERNOR, STATE, percent
from serving import arguments, serve_wsgi
from wire import Environ, StartResponse, Wire

_GENERATED = max(county.reported_at for county in COUNTIES.values()).isoformat()


def _reporting(counties: list[Any]) -> dict[str, int]:
    return {
        "@reporting": sum(len(county.reporting) for county in counties),
        "@total": sum(len(county.precincts) for county in counties),
    }


def governor() -> dict[str, Any]:
    """Every county, every candidate."""
    counties = list(COUNTIES.values())
    totals = [sum(votes) for votes in zip(*(county.votes for county in counties), strict=True)]
    return {
        "@id": "governor",
        "@generated": _GENERATED,
        "title": "Governor",
        "precincts": _reporting(counties),
        "candidate": [
            {
                "@code": one.code,
                "@party": one.party,
                "@leading": str(votes == max(totals)).lower(),
                "name": one.name,
                "votes": {"@percent": percent(votes, sum(totals)), "#text": votes},
            }
            for one, votes in zip(GOVERNOR, totals, strict=True)
        ],
        "county": [{"@fips": one.fips, "@ballots": one.ballots, "#text": one.name} for one in counties],
    }


def register_of_deeds() -> dict[str, Any]:
    """One county and a single candidate."""
    county = COUNTIES["91001"]
    votes = county.ballots - 611
    return {
        "@id": "register-of-deeds",
        "@generated": _GENERATED,
        "title": "Register of Deeds, Alder County",
        "precincts": _reporting([county]),
        "candidate": {
            "@code": "PELLETIER",
            "@party": "Independent",
            "@leading": "true",
            "name": "Rosalind Pelletier",
            "votes": {"@percent": percent(votes, county.ballots), "#text": votes},
        },
        "county": {"@fips": county.fips, "@ballots": county.ballots, "#text": county.name},
    }


RACES = {"governor": governor, "register-of-deeds": register_of_deeds}
_MISSING = b"<html><head><title>404</title></head><body><h1>Not Found</h1><p>feedd/2.4 at /srv/feed</p></body></html>"


def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    race = RACES.get(environ["PATH_INFO"].removeprefix("/feed/races/"))
    if race is None:
        start_response("404 Not Found", [("Content-Type", "text/html"), ("Content-Length", str(len(_MISSING)))])
        return [_MISSING]
    document = {"results": {"@state": STATE, "@election": "2026-11-03", "race": race()}}
    body = xmltodict.unparse(document, pretty=True, indent="  ").encode()
    headers = [("Content-Type", "application/xml; charset=utf-8"), ("Content-Length", str(len(body)))]
    start_response("200 OK", headers)
    return [body]


if __name__ == "__main__":
    options = arguments("The results feed, in XML.")
    serve_wsgi(application, options.port, Wire(options.wire))
