"""`description`, `tags`, `deprecated` and `sunset` of a spec: what is read, what is refused, what is warned of."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from bridge.api import RouteSpec
from bridge.api.spec.lifecycle import lifecycle_warnings
from bridge.config.specfile import read_text
from bridge.errors import SpecError
from bridge.gateway.table import spec_json

BASE = {"route": "/v1/a", "upstream": "svc:80", "auth": "none", "transform": {"request": "passthrough"}}
TEXT = "route: /v1/a\nupstream: svc:80\nauth: none\ntransform: {request: passthrough}\n"


def spec_of(**keys: Any) -> RouteSpec:
    return RouteSpec.model_validate(BASE | keys)


@pytest.mark.parametrize(
    ("written", "since", "shown"),
    [
        (True, None, True),
        ({}, None, True),
        ("2026-07-01", 1782864000, "2026-07-01"),
        ("2023-06-30T23:59:59Z", 1688169599, "2023-06-30T23:59:59Z"),  # the example of RFC 9745
        ("2026-07-01t02:00:00.75+02:00", 1782864000, "2026-07-01"),
        ({"since": "2026-07-01"}, 1782864000, "2026-07-01"),
        (
            {"since": "2026-07-01", "link": "https://a.example/b?c=d#e"},
            1782864000,
            {"since": "2026-07-01", "link": "https://a.example/b?c=d#e"},
        ),
    ],
)
def test_when_a_route_is_deprecated(written: object, since: int | None, shown: object) -> None:
    spec = spec_of(deprecated=written)
    assert spec.deprecated is not None
    assert (spec.deprecated.since and int(spec.deprecated.since.timestamp())) == since
    assert spec_json(spec)["deprecated"] == shown
    assert RouteSpec.model_validate(spec_json(spec)) == spec


def test_a_route_that_is_not_deprecated() -> None:
    spec = spec_of(deprecated=False, sunset="2027-01-31")
    assert spec.deprecated is None
    assert spec_json(spec) == BASE | {"auth": {"type": "none"}, "deprecated": False, "sunset": "2027-01-31"}
    assert RouteSpec.model_validate(spec_json(spec)) == spec
    assert not {"deprecated", "sunset"} & spec_json(spec_of()).keys()


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("deprecated: soon", "a.yml:5: deprecated: 'soon' is no date; write a date, as 2027-01-31"),
        ("deprecated: 2026", "a.yml:5: deprecated: 2026 is no date"),
        ("deprecated: 2026-02-30", "a.yml:5: deprecated: '2026-02-30' is no date of the calendar"),
        ("deprecated: 2026-07-01T12:00:00", "is no date; write a date, as 2027-01-31, or a time with its offset"),
        ("deprecated: 1969-12-31", "is before 1970"),
        ("deprecated: '9999-12-31T23:59:59-01:00'", "is no date of the calendar"),
        ("deprecated: {sinse: 2026-07-01}", "deprecated.sinse: unknown key; did you mean 'since'?"),
        ("sunset: true", "a.yml:5: sunset: "),
        ("sunset: {link: 'https://a.example'}", "a.yml:5: sunset.date: it is missing"),
        ("sunset: {date: 2027-01-01, link: 'javascript:alert(1)'}", "sunset.link: 'javascript:alert(1)' is no URL"),
        ('sunset: {date: 2027-01-01, link: "https://a.example/\\r\\nx: y"}', "is no URL of a page"),
        ("sunset: {date: 2027-01-01, link: 'https://a.example/>; rel=x'}", "is no URL of a page"),
        (
            "deprecated: 2027-07-01\nsunset: 2027-01-01",
            "a.yml:6: sunset: it is 2027-01-01, before the route is deprecated (2027-07-01)",
        ),
        ("tags: []", "an empty list has no tag"),
        ("tags: [a, a]", "a tag stands in it twice"),
        ("tags: [' ']", "' ' is no tag"),
        (f"tags: [{'x' * 101}]", "is no tag: a tag has 1 to 100 printable characters"),
        (f"tags: [{', '.join(map(str, range(21)))}]", "tags[0]: it must be a text"),
        ("tags: one", "a.yml:5: tags: it must be a list, not 'one'; write [one]"),
        ("description: ''", "a.yml:5: description: it must not be empty"),
        (f"description: {'x' * 16385}", "description: "),
    ],
)
def test_what_is_refused(line: str, fault: str) -> None:
    with pytest.raises(SpecError) as caught:
        read_text(f"{TEXT}{line}\n", "a.yml")
    assert fault in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "warnings"),
    [
        ({}, []),
        ({"deprecated": "2026-07-01", "sunset": "2027-01-02"}, []),
        (
            {"deprecated": True},
            ["deprecated: it has no date, so responses have no Deprecation field; write the date since when it is"],
        ),
        (
            {"sunset": "2026-12-29T13:00:00Z"},
            [
                "sunset: it was on 2026-12-29T13:00:00Z, 2 days ago, and the route still serves; "
                "remove the route, or write a later date"
            ],
        ),
        (
            {"sunset": "2027-01-01"},
            [
                "sunset: it was on 2027-01-01, and the route still serves; remove the route, or write a later date",
            ],
        ),
    ],
)
def test_what_an_author_should_know(keys: dict[str, Any], warnings: list[str]) -> None:
    spec = spec_of(**keys)
    noon = datetime(2027, 1, 1, 0 if keys.get("sunset") == "2027-01-01" else 12, tzinfo=UTC)
    noon = noon if "sunset" not in keys or "13:00" not in keys["sunset"] else datetime(2027, 1, 1, tzinfo=UTC)
    assert lifecycle_warnings(spec.deprecated, spec.sunset, noon) == warnings
