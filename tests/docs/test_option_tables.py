"""The tables of keys in docs/spec.md, soap.md, grpc.md and xml.md have every key that there is, with its default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from ruamel.yaml import YAML

from bridge.api import Call, HttpReply, UpstreamFault
from bridge.api.spec.cors import CorsSpec
from bridge.api.spec.forwarded import ForwardedSpec
from bridge.api.spec.limits import Limit, RateLimit
from bridge.api.spec.retry import RetrySpec
from bridge.api.spec.route import RouteSpec
from bridge.errors import BadReply, RequestError
from bridge_grpc.options import GrpcOptions
from bridge_soap.options import SoapOptions
from bridge_xml.transformer import XmlOptions
from tests.docs.tables import code, table
from tests.soap_kit import codec_of, envelope, make_echo


@pytest.mark.parametrize(
    ("page", "heading", "model"),
    [
        ("docs/spec.md", "Route specs", RouteSpec),
        ("docs/spec.md", "`rate_limit`", RateLimit),
        ("docs/spec.md", "`limits`", Limit),
        ("docs/spec.md", "`retry`", RetrySpec),
        ("docs/edge.md", "CORS", CorsSpec),
        ("docs/spec.md", "`forwarded`", ForwardedSpec),
        ("docs/soap.md", "Options", SoapOptions),
        ("docs/grpc.md", "Options", GrpcOptions),
        ("docs/xml.md", "xml: JSON in front, XML behind", XmlOptions),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_each_key_is_in_its_table(page: str, heading: str, model: type[BaseModel]) -> None:
    keys = [key.partition(":")[0] for row in table(page, heading) for key in code(row[0])]
    assert len(set(keys)) == len(keys)
    assert set(keys) == {field.alias or name for name, field in model.model_fields.items()}


#: Specs in which a key has no default, and one in which it is as the table says.
LEAST: dict[str, Any] = {"route": "/a", "upstream": "a:1", "auth": "none", "transform": {"request": "passthrough"}}


@pytest.mark.parametrize(
    ("heading", "model", "least"),
    [
        ("Route specs", RouteSpec, LEAST),
        ("`rate_limit`", RateLimit, {"rps": 1}),
        ("`retry`", RetrySpec, {}),
        ("`forwarded`", ForwardedSpec, {}),
    ],
    ids=["route", "rate_limit", "retry", "forwarded"],
)
def test_defaults_are_as_the_table_says(heading: str, model: type[BaseModel], least: dict[str, Any]) -> None:
    assert model.model_validate(least)
    number = 0
    for row in table("docs/spec.md", heading):
        [key], default = code(row[0]), code(row[2])
        if row[2] == "required":
            with pytest.raises(ValueError, match=key):
                model.model_validate({name: value for name, value in least.items() if name != key})
        elif len(default) == 1:
            value = YAML(typ="safe").load(default[0])
            shown = getattr(model.model_validate({**least, key: value}), key)
            assert shown == getattr(model.model_validate(least), key), key
            number += 1
    assert number >= 1


# --- what the service says and the client gets -----------------------------------------------------------------------

ANSWERS = table("docs/soap.md", "Replies", number=2)


def test_what_the_client_gets_of_a_soap_service(tmp_path: Path) -> None:
    assert [row[0] for row in ANSWERS] == [
        "a Fault with code Client or Sender; with any other",
        "HTTP 3xx, 4xx, 5xx without a Fault",
        "`Retry-After` with any of these",
        "no SOAP envelope (an HTML page, say), or another element than the operation's",
    ]
    service = make_echo(tmp_path, '<xs:element name="r" type="xs:string"/>')

    def refusal(status: int, body: bytes, *headers: tuple[str, str]) -> RequestError:
        inbound = HttpReply(status, [("content-type", "text/xml"), *headers], body)
        with pytest.raises(RequestError) as caught:
            codec_of(service.operation).reply(Call(), inbound)
        return caught.value

    def fault(code: str) -> bytes:
        return envelope(f"<s:Fault><faultcode>{code}</faultcode><faultstring>no</faultstring></s:Fault>")

    for code_, status in (("s:Client", 400), ("s:Server", 502), ("s:Other", 502)):
        error = refusal(500, fault(code_))
        assert isinstance(error, UpstreamFault)
        assert error.status == status
    for status in (301, 404, 500, 503):
        error = refusal(status, b"<p>secret</p>", ("retry-after", "7"))
        assert (error.status, error.slug) == (502, "upstream-failed")
        assert "secret" not in str(error)
        assert dict(error.headers)["retry-after"] == "7"
    for body in (b"<html><body>x</body></html>", envelope('<other xmlns="urn:t"/>')):
        error = refusal(200, body)
        assert isinstance(error, BadReply)
        assert (error.status, error.slug) == (502, "bad-reply")
