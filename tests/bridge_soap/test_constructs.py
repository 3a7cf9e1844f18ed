"""Every construct of XML Schema, as CONTRACT section 6 maps it: XML to JSON and back, the validator watching."""

from __future__ import annotations

from typing import Any

import pytest

from tests.soap_cases import CASES
from tests.soap_kit import MakeEcho


@pytest.mark.parametrize(("schema", "trips"), CASES)
def test_round_trip(echo: MakeEcho, schema: str, trips: tuple[tuple[str, Any], ...]) -> None:
    service = echo(schema)
    for xml, expected in trips:
        assert service.trip(xml) == expected


@pytest.mark.parametrize(("schema", "trips"), CASES)
def test_round_trip_of_types_compiled_late(
    echo: MakeEcho, monkeypatch: pytest.MonkeyPatch, schema: str, trips: tuple[tuple[str, Any], ...]
) -> None:
    """In a large contract, a type's code is made when it is first used."""
    monkeypatch.setattr("bridge_soap.encode.encoders.EAGER", 0)
    monkeypatch.setattr("bridge_soap.decode.cursor.EAGER", 0)
    test_round_trip(echo, schema, trips)
