"""SOAP headers: constants of the spec, and WS-Security tokens judged by their own arithmetic and by zeep's."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime

import pytest
from lxml import etree
from zeep.wsse.username import UsernameToken as ZeepToken

from bridge.api import BindError, Call
from bridge.api.grants import Grant, granted
from bridge_soap.message.security import token_writer
from bridge_soap.options import UsernameToken
from tests.soap_kit import SOAP11, Bind, codec_of

WSSE = "{http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd}"
WSU = "{http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd}"
NOTIFY = {"operation": "notify"}


async def header_of(bind: Bind, **options: object) -> etree._Element:
    operation = (await bind("people/PeopleService.wsdl", options={**NOTIFY, **options}))[0]
    request = codec_of(operation).request(Call("POST", body=b'{"id": "1"}'))
    found = etree.fromstring(request.body).find(f"{{{SOAP11}}}Header")
    assert found is not None
    return found


async def test_constants(bind: Bind) -> None:
    header = await header_of(bind, headers={"session": {"token": "a<b", "user": 5}})
    assert header[0].tag == "{http://people.example/}session"
    assert [child.text for child in header[0]] == ["a<b", "5"]


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({"sesion": {}}, "transform.soap.headers.sesion: no element of that name is in the contract"),
        ({"session": {"user": "x"}}, "transform.soap.headers.session.token: it is required"),
        ({"session": {"token": "x", "user": "x"}}, "transform.soap.headers.session.user: a whole number"),
    ],
)
async def test_wrong_constants_fail_at_bind(bind: Bind, headers: dict[str, object], told: str) -> None:
    with pytest.raises(BindError) as caught:
        await header_of(bind, headers=headers)
    assert told in str(caught.value)


async def test_a_plain_token(bind: Bind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_SECRET_PEOPLE_PASSWORD", "s3cr<t")
    header = await header_of(bind, security={"username": "ada", "password_env": "BRIDGE_SECRET_PEOPLE_PASSWORD"})
    token = header.find(f"{WSSE}Security/{WSSE}UsernameToken")
    assert token is not None
    assert token.findtext(f"{WSSE}Username") == "ada"
    assert token.findtext(f"{WSSE}Password") == "s3cr<t"


async def test_a_digest_differs_from_call_to_call(bind: Bind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_SECRET_PEOPLE_PASSWORD", "secret")
    options = {"security": {"username": "ada", "password_env": "BRIDGE_SECRET_PEOPLE_PASSWORD", "digest": True}}
    seen = set()
    for _ in range(2):
        header = await header_of(bind, headers={"session": {"token": "t"}}, **options)
        assert len(header) == 2
        token = header.find(f"{WSSE}Security/{WSSE}UsernameToken")
        assert token is not None
        nonce = base64.b64decode(token.findtext(f"{WSSE}Nonce") or "")
        created = token.findtext(f"{WSU}Created") or ""
        digest = base64.b64encode(hashlib.sha1(nonce + created.encode() + b"secret").digest()).decode()
        assert token.findtext(f"{WSSE}Password") == digest
        seen.add(digest)
    assert len(seen) == 2


async def test_a_password_that_is_not_set(bind: Bind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BRIDGE_SECRET_PEOPLE_PASSWORD", raising=False)
    with pytest.raises(BindError, match="the environment variable BRIDGE_SECRET_PEOPLE_PASSWORD is not set"):
        await header_of(bind, security={"username": "ada", "password_env": "BRIDGE_SECRET_PEOPLE_PASSWORD"})


@pytest.mark.parametrize("digest", [False, True])
@pytest.mark.parametrize("name", ["ada", "a<b>&\r\n\u00e9\U0001f5f3"])
def test_a_token_is_what_zeep_writes(name: str, digest: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_SECRET_P", "s3cr<t")
    monkeypatch.setattr("os.urandom", lambda size: b"n" * size)  # zeep's nonce
    with granted(Grant(operator=True)):
        write = token_writer(UsernameToken(username=name, password_env="BRIDGE_SECRET_P", digest=digest))
    call = Call(clock=lambda: 1_790_000_000.9, random=lambda size: b"n" * size)
    envelope = etree.fromstring(
        '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Header/></s:Envelope>'
    )
    created = datetime.fromtimestamp(1_790_000_000, UTC)
    ZeepToken(name, "s3cr<t", use_digest=digest, created=created).apply(envelope, {})
    theirs = envelope[0][0]
    etree.cleanup_namespaces(theirs)
    assert etree.tostring(etree.fromstring(write(call)), method="c14n2") == etree.tostring(theirs, method="c14n2")


def test_a_name_that_xml_forbids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_SECRET_P", "p")
    with (
        granted(Grant(operator=True)),
        pytest.raises(BindError, match="username: it holds a character that XML forbids"),
    ):
        token_writer(UsernameToken(username="a\x00", password_env="BRIDGE_SECRET_P"))
