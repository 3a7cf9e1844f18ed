"""What services ask for by WS-Policy, in the forms that WCF, Metro, CXF and WebSphere publish, and a spec that lacks
it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bridge.api import Context, RouteSpec
from bridge_soap import Soap
from bridge_soap.importing import SoapImport
from tests.soap_kit import bind_wsdl

WSDL = """<wsdl:definitions xmlns:wsdl="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
    xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:t="urn:bank" xmlns:wsp="{wsp}" targetNamespace="urn:bank"
    xmlns:wsu="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
    xmlns:sp="{sp}" xmlns:wsam="http://www.w3.org/2007/05/addressing/metadata"
    xmlns:wsaw="http://www.w3.org/2006/05/addressing/wsdl"
    xmlns:wsoma="http://schemas.xmlsoap.org/ws/2004/09/policy/optimizedmimeserialization">
  {policies}
  <wsdl:types><xs:schema targetNamespace="urn:bank"><xs:element name="Pay" type="xs:string"/></xs:schema></wsdl:types>
  <wsdl:message name="Pay"><wsdl:part name="body" element="t:Pay"/></wsdl:message>
  <wsdl:portType name="Bank">
    <wsdl:operation name="Pay"><wsdl:input message="t:Pay"/><wsdl:output message="t:Pay"/></wsdl:operation>
    <wsdl:operation name="List"><wsdl:input message="t:Pay"/><wsdl:output message="t:Pay"/></wsdl:operation>
  </wsdl:portType>
  <wsdl:binding name="Soap" type="t:Bank">{binding}
    <soap:binding transport="http://schemas.xmlsoap.org/soap/http"/>
    <wsdl:operation name="Pay">{operation}<wsdl:input>{input}<soap:body use="literal"/></wsdl:input>
      <wsdl:output>{output}<soap:body use="literal"/></wsdl:output></wsdl:operation>
    <wsdl:operation name="List"><wsdl:input><soap:body use="literal"/></wsdl:input>
      <wsdl:output><soap:body use="literal"/></wsdl:output></wsdl:operation>
  </wsdl:binding>
  <wsdl:service name="Bank"><wsdl:port name="Soap" binding="t:Soap">
    <soap:address location="{address}"/></wsdl:port></wsdl:service>
</wsdl:definitions>"""
WSP12, WSP15 = "http://schemas.xmlsoap.org/ws/2004/09/policy", "http://www.w3.org/ns/ws-policy"
SP11 = "http://schemas.xmlsoap.org/ws/2005/07/securitypolicy"
SP12 = "http://docs.oasis-open.org/ws-sx/ws-securitypolicy/200702"
EMPTY = {
    "wsp": WSP15, "sp": SP12, "policies": "", "binding": "", "operation": "", "input": "", "output": "",
    "address": "http://bank.example/soap",
}  # fmt: skip
ADDRESSING = "<wsam:Addressing/>"
TLS = (
    "<sp:TransportBinding><wsp:Policy><sp:TransportToken><wsp:Policy><sp:HttpsToken/></wsp:Policy></sp:TransportToken>"
)
TLS += "{}</wsp:Policy></sp:TransportBinding>"
TOKEN = "<sp:SignedSupportingTokens><wsp:Policy><sp:UsernameToken/></wsp:Policy></sp:SignedSupportingTokens>"
MUTUAL = (
    "<sp:AsymmetricBinding><wsp:Policy><sp:InitiatorToken><wsp:Policy><sp:X509Token/></wsp:Policy></sp:InitiatorToken>"
    "<sp:RecipientToken><wsp:Policy><sp:X509Token/></wsp:Policy></sp:RecipientToken><sp:IncludeTimestamp/>"
    "<sp:OnlySignEntireHeadersAndBody/></wsp:Policy></sp:AsymmetricBinding><sp:Wss10><wsp:Policy/></sp:Wss10>"
)


def policy(content: str, name: str = "p") -> str:
    return f'<wsp:Policy wsu:Id="{name}"><wsp:ExactlyOne><wsp:All>{content}</wsp:All></wsp:ExactlyOne></wsp:Policy>'


def reference(name: str = "p") -> str:
    return f'<wsp:PolicyReference URI="#{name}"/>'


async def advice(folder: Path, parts: dict[str, str], upstream: str = "x:80", **options: Any) -> list[str]:
    (folder / "a.wsdl").write_text(WSDL.format(**{**EMPTY, **parts}))
    soap = Soap()
    await bind_wsdl(folder, "a.wsdl", soap=soap, upstream=upstream, options=options)
    spec = {"request": "soap", "soap": {"wsdl": "a.wsdl", **options}}
    return list(
        soap.advice(
            RouteSpec.model_validate({"route": "/v1/x", "upstream": upstream, "auth": "none", "transform": spec})
        )
    )


def asked(sentences: list[str]) -> list[str]:
    """What the service as a whole asks for, without what the spec is to do about it."""
    assert all(each.startswith("the service's WS-Policy asks for ") for each in sentences), sentences
    return [each.removeprefix("the service's WS-Policy asks for ").partition(", and ")[0] for each in sentences]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (ADDRESSING, ["WS-Addressing (wsam:Addressing)"]),
        ("<wsam:Addressing><wsp:Policy/></wsam:Addressing>", ["WS-Addressing (wsam:Addressing)"]),
        ("<wsaw:UsingAddressing/>", ["WS-Addressing (wsaw:UsingAddressing)"]),
        ("<wsoma:OptimizedMimeSerialization/>", ["MTOM (wsoma:OptimizedMimeSerialization)"]),
        (TLS.format(""), ["TLS (sp:HttpsToken, sp:TransportBinding)"]),
        (
            TLS.format("<sp:IncludeTimestamp/>") + TOKEN,
            [
                "TLS (sp:HttpsToken, sp:TransportBinding)",
                "a WS-Security UsernameToken (sp:UsernameToken)",
                "a time stamp in the header Security (sp:IncludeTimestamp)",
            ],
        ),
        (
            MUTUAL + "<sp:SignedParts><sp:Body/></sp:SignedParts><sp:EncryptedParts><sp:Body/></sp:EncryptedParts>",
            [
                "encrypted messages (sp:EncryptedParts)",
                "signed messages (sp:AsymmetricBinding, sp:SignedParts)",
                "a time stamp in the header Security (sp:IncludeTimestamp)",
            ],
        ),
        (
            TLS.format("").replace("<sp:HttpsToken/>", '<sp:HttpsToken RequireClientCertificate="true"/>'),
            ["a client certificate (sp:HttpsToken)", "TLS (sp:HttpsToken, sp:TransportBinding)"],
        ),
        (
            "<sp:SupportingTokens><wsp:Policy><sp:SamlToken/></wsp:Policy></sp:SupportingTokens>",
            ["a security token (sp:SamlToken)"],
        ),
        ("<v:Vendor xmlns:v='urn:v'/>", []),
    ],
)
@pytest.mark.parametrize("versions", [{"wsp": WSP12, "sp": SP11}, {"wsp": WSP15, "sp": SP12}], ids=["1.1", "1.2"])
async def test_what_the_service_asks_for_and_the_spec_lacks_is_told(
    tmp_path: Path, content: str, told: list[str], versions: dict[str, str]
) -> None:
    parts = {**versions, "policies": policy(content), "binding": reference()}
    assert sorted(asked(await advice(tmp_path, parts))) == sorted(told)


@pytest.mark.parametrize(
    ("content", "spec"),
    [
        (ADDRESSING, {"headers": {"Action": "urn:pay"}}),
        (TOKEN, {"security": {"username": "u", "password_env": "BRIDGE_SECRET_P"}}),
        (TLS.format(""), {"upstream": "https://x:443"}),
        (
            "<sp:SupportingTokens><wsp:Policy><sp:UsernameToken><wsp:Policy><sp:HashPassword/></wsp:Policy>"
            "</sp:UsernameToken></wsp:Policy></sp:SupportingTokens>",
            {"security": {"username": "u", "password_env": "BRIDGE_SECRET_P", "digest": True}},
        ),
        # TLS protects what a policy wants signed or encrypted.
        (
            TLS.format("") + "<sp:SignedParts><sp:Body/></sp:SignedParts><sp:EncryptedParts/>",
            {"upstream": "https://x:443"},
        ),
    ],
)
async def test_what_the_spec_has_is_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, spec: dict[str, Any]
) -> None:
    monkeypatch.setenv("BRIDGE_SECRET_P", "p")
    parts = {"policies": policy(content), "binding": reference()}
    assert await advice(tmp_path, parts) != []
    assert await advice(tmp_path, parts, **spec) == []


async def test_a_digest_that_is_off_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_SECRET_P", "p")
    token = "<sp:SupportingTokens><wsp:Policy><sp:UsernameToken><wsp:Policy><sp:HashPassword/></wsp:Policy>"
    parts = {"binding": policy(f"{token}</sp:UsernameToken></wsp:Policy></sp:SupportingTokens>")}
    security = {"username": "u", "password_env": "BRIDGE_SECRET_P"}
    assert asked(await advice(tmp_path, parts, security=security)) == ["the digest of the password (sp:HashPassword)"]


@pytest.mark.parametrize(
    "parts",
    [
        {"binding": policy('<wsam:Addressing wsp:Optional="true"/>')},
        {"binding": '<wsaw:UsingAddressing wsdl:required="false"/>'},
        {"binding": "<wsaw:UsingAddressing/>"},  # the service bears it
        {"binding": f"<wsp:Policy><wsp:ExactlyOne>{ADDRESSING}<wsp:All/></wsp:ExactlyOne></wsp:Policy>"},
        {"policies": policy(ADDRESSING)},  # nothing refers to it
        {"binding": "<wsp:Policy/>"},
        {"binding": "<wsp:Policy><wsp:ExactlyOne/></wsp:Policy>"},
        {"policies": '<wsp:Policy wsu:Id="p"><wsp:PolicyReference URI="#p"/></wsp:Policy>', "binding": reference()},
    ],
)  # fmt: skip
async def test_what_need_not_be_met_is_not_told(tmp_path: Path, parts: dict[str, str]) -> None:
    assert await advice(tmp_path, parts) == []


@pytest.mark.parametrize(
    "parts",
    [
        {"binding": policy(ADDRESSING)},
        {"binding": f"<wsp:Policy>{ADDRESSING}</wsp:Policy>"},
        {"binding": '<wsaw:UsingAddressing wsdl:required="true"/>'},
        {"policies": policy(ADDRESSING).replace("wsu:Id", "xml:id"), "binding": reference()},
        {"policies": policy(ADDRESSING).replace('wsu:Id="p"', 'Name="#p"'), "binding": reference()},
        {"policies": policy(reference("q")) + policy(ADDRESSING, "q"), "binding": reference()},
    ],
)  # fmt: skip
async def test_where_a_policy_may_stand(tmp_path: Path, parts: dict[str, str]) -> None:
    assert {each.partition(" (")[0] for each in asked(await advice(tmp_path, parts))} == {"WS-Addressing"}


@pytest.mark.parametrize(
    ("identifier", "whole"),
    [
        ("service(Bank)", True),
        ("port(Bank/Soap)", True),
        ("binding(Soap)", True),
        ("portType(Bank)", True),
        ("message(Pay)", True),
        ("bindingOperation(Soap/Pay)", False),
        ("bindingOperation.input(Soap/Pay)", False),
        ("portTypeOperation(Bank/Pay)", False),
        ("portTypeOperation.input(Bank/Pay)", False),
    ],
)
async def test_a_policy_that_is_attached_from_elsewhere(tmp_path: Path, identifier: str, whole: bool) -> None:
    scope = f"<wsp:AppliesTo><wsp:URI> urn:bank#wsdl11.{identifier} </wsp:URI></wsp:AppliesTo>"
    for content in (f"<wsp:Policy>{ADDRESSING}</wsp:Policy>", reference()):
        attachment = f"<wsp:PolicyAttachment>{scope}{content}</wsp:PolicyAttachment>"
        (sentence,) = await advice(tmp_path, {"policies": policy(ADDRESSING) + attachment})
        subject = "the service's WS-Policy asks" if whole else "the WS-Policy of Pay asks"
        assert sentence.startswith(f"{subject} for WS-Addressing")
    other = f"<wsp:PolicyAttachment>{scope.replace('bank#', 'other#')}{reference()}</wsp:PolicyAttachment>"
    assert await advice(tmp_path, {"policies": policy(ADDRESSING) + other}) == []


@pytest.mark.parametrize("place", ["operation", "input"])
async def test_one_operation_that_asks_is_named(tmp_path: Path, place: str) -> None:
    parts = {"policies": policy(ADDRESSING), place: reference()}
    (sentence,) = await advice(tmp_path, parts)
    assert sentence.startswith("the WS-Policy of Pay asks for WS-Addressing")
    assert await advice(tmp_path, parts, operation="List") == []
    assert len(await advice(tmp_path, parts, operation="Pay")) == 1


async def test_encrypted_replies_are_told_and_signed_ones_are_not(tmp_path: Path) -> None:
    content = "<sp:SignedParts><sp:Body/></sp:SignedParts><sp:EncryptedParts><sp:Body/></sp:EncryptedParts>"
    (sentence,) = await advice(tmp_path, {"policies": policy(content), "output": reference()})
    assert sentence.startswith("the WS-Policy of Pay asks for encrypted messages (sp:EncryptedParts)")


async def test_of_alternatives_the_one_that_lacks_least_counts(tmp_path: Path) -> None:
    either = f"<wsp:ExactlyOne><wsp:All>{MUTUAL}</wsp:All><wsp:All>{TLS.format('')}</wsp:All></wsp:ExactlyOne>"
    parts = {"binding": f"<wsp:Policy>{either}</wsp:Policy>"}
    assert len(await advice(tmp_path, parts)) == 1
    assert await advice(tmp_path, parts, upstream="https://x:443") == []


async def test_a_policy_that_is_not_there_is_told(tmp_path: Path) -> None:
    (sentence,) = await advice(tmp_path, {"binding": reference("gone")})
    assert sentence == "the service's WS-Policy asks for what a policy says that is not in the contract (#gone)"


async def test_many_alternatives_take_little_time(tmp_path: Path) -> None:
    choice = (
        "<wsp:ExactlyOne><wsam:Addressing/><wsoma:OptimizedMimeSerialization/><sp:EncryptedParts/></wsp:ExactlyOne>"
    )
    parts = {"binding": f"<wsp:Policy>{choice * 200}</wsp:Policy>"}
    assert len(await advice(tmp_path, parts)) == 1


async def test_import_tells_it_too(tmp_path: Path) -> None:
    content = policy(TLS.format("") + TOKEN)
    (tmp_path / "a.wsdl").write_text(WSDL.format(**{**EMPTY, "binding": content, "address": "https://bank.example/x"}))
    _, notes = await Soap().import_spec(SoapImport(wsdl="a.wsdl"), Context(tmp_path, tmp_path))
    # The spec has TLS already, since the address does.
    assert asked(notes) == ["a WS-Security UsernameToken (sp:UsernameToken)"]
