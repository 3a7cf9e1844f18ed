"""Description, tags, deprecation and sunset of a route in the document."""

from __future__ import annotations

import json
from typing import Any

from bridge.admin.openapi.document import in_order
from bridge.api import OperationDoc


def entry_of(built: dict[str, Any], path: str = "/v1/vat/{countryCode}") -> dict[str, Any]:
    entry: dict[str, Any] = built["paths"][path]["get"]
    return entry


def test_a_route_s_description_goes_before_its_contract_s(publish: Any, document: Any) -> None:
    doc = OperationDoc({"description": "Is it valid?", "responses": {"200": {"description": "Yes or no."}}})
    entry = entry_of(
        document(
            publish(
                description="Asks **VIES**, not vat-svc.\n",
                deprecated={"since": "2026-07-01", "link": "https://api.example/v2_(new)"},
                sunset="2027-01-31T12:00:00+02:00",
                auth={"type": "JWT", "audience": "TAX"},
                doc=doc,
            )
        )
    )
    assert entry["description"].split("\n\n") == [
        "Asks **VIES**, not the service.",
        "Is it valid?",
        "**Deprecated** as of 2026-07-01. [More about it](<https://api.example/v2_(new)>).",
        "**Sunset:** 2027-01-31T10:00:00Z; it may be gone after that.",
        "**Access:** a bearer token (JWT) for the audience `TAX`.",
    ]
    assert entry["deprecated"] is True
    assert entry["x-bridge"]["deprecated"] == {"since": "2026-07-01", "link": "https://api.example/v2_(new)"}
    assert entry["x-bridge"]["sunset"] == {"date": "2027-01-31T10:00:00Z"}
    fields = ["X-Trace-ID", "Deprecation", "Sunset", "Link"]
    assert list(entry["responses"]["200"]["headers"]) == fields


def test_a_deprecation_without_a_date_has_no_field(publish: Any, document: Any) -> None:
    built = document(publish(deprecated=True), publish("/b", deprecated=False), publish("/c"))
    entry = entry_of(built)
    assert (entry["deprecated"], entry["description"]) == (True, "**Deprecated**.")
    assert list(entry["responses"]["200"]["headers"]) == ["X-Trace-ID"]
    assert "Deprecation" not in built["components"]["headers"]
    for path in ("/b", "/c"):
        assert not {"deprecated", "description"} & entry_of(built, path).keys()
        assert not {"deprecated", "sunset"} & entry_of(built, path)["x-bridge"].keys()


def test_a_route_s_tags_stand_instead_of_the_usual_one_and_in_their_order(publish: Any, document: Any) -> None:
    operations = [
        publish("/a", tags=["Returns", "Counties"], tenant="state"),
        publish("/b", tags=["Counties", "Archive"]),
        publish("/c", tenant="state"),
    ]
    built = document(*operations)
    assert entry_of(built, "/a")["tags"] == ["Returns", "Counties"]
    assert entry_of(built, "/c")["tags"] == ["state"]
    assert [tag["name"] for tag in built["tags"]] == ["Returns", "Counties", "Archive", "state"]
    assert json.dumps(document(*reversed(operations))) == json.dumps(built)


def test_tags_whose_orders_contradict_each_other_are_each_there_once() -> None:
    assert in_order([["b", "a"], ["a", "b"], ["x", "c"], ["c"]]) == ["x", "c", "a", "b"]
    assert in_order([["a", "b", "c"], ["c", "a"]]) == ["a", "b", "c"]
    assert in_order([]) == []


def test_many_tags_are_quick() -> None:
    names = [f"t{number}" for number in range(20_000)]
    assert in_order([name] for name in reversed(names)) == sorted(names)
