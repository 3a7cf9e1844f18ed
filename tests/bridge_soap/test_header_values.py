"""Values of header blocks from the environment, files, HTTP headers and token claims."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from bridge.api import BindError, Call, Forbidden, HttpReply, Identity, InvalidParameter, Operation
from tests.soap_kit import SOAP11, WSDL_DIR, Bind, codec_of, envelope

H = "{urn:ledger:headers}"
SOAP12 = "http://www.w3.org/2003/05/soap-envelope"
BODY = b'{"account": "a", "cents": 5}'


async def post(bind: Bind, headers: dict[str, Any], **more: Any) -> Operation:
    options = {"operation": "post", "headers": headers, **more.pop("options", {})}
    return (await bind("ledger.wsdl", options=options, **more))[0]


def send(operation: Operation, headers: dict[str, str] | None = None, claims: dict[str, Any] | None = None) -> bytes:
    fields = [("content-type", "application/json"), *((headers or {}).items())]
    call = Call("POST", headers=fields, body=BODY, identity=Identity(claims=claims or {}))
    body: bytes = codec_of(operation).request(call).body
    return body


def header_of(body: bytes, soap: str = SOAP11) -> etree._Element | None:
    return etree.fromstring(body).find(f"{{{soap}}}Header")


def auth_of(body: bytes) -> list[tuple[str, str]]:
    header = header_of(body)
    assert header is not None
    block = header.find(f"{H}AuthHeader")
    assert block is not None
    return [(str(child.tag).removeprefix(H), child.text or "") for child in block]


# --- secrets ---


async def test_secrets_are_read_at_bind(bind: Bind, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "wsdl").mkdir()
    (tmp_path / "wsdl/ledger.wsdl").write_bytes((WSDL_DIR / "ledger.wsdl").read_bytes())
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/level").write_text(" 07\n")
    monkeypatch.setenv("BRIDGE_SECRET_LEDGER_KEY", "<k&y>")
    headers = {
        "AuthHeader": {"user": "me", "key": {"$env": "BRIDGE_SECRET_LEDGER_KEY"}, "level": {"$file": "secrets/level"}}
    }
    operation = await post(bind, headers, folder=tmp_path / "wsdl")
    monkeypatch.delenv("BRIDGE_SECRET_LEDGER_KEY")
    (tmp_path / "secrets/level").unlink()
    assert auth_of(send(operation)) == [("user", "me"), ("key", "<k&y>"), ("level", "7")]
    assert codec_of(operation).secrets >= {"<k&y>", " 07", "7"}  # type: ignore[attr-defined]  # SoapCodec's


@pytest.mark.parametrize(
    ("content", "value"), [(b"a\n", "a"), (b"a\r\n", "a"), (b"a\n\n", "a\n"), (b"a", "a"), (b" a ", " a ")]
)
async def test_one_trailing_line_end_goes(bind: Bind, tmp_path: Path, content: bytes, value: str) -> None:
    (tmp_path / "wsdl").mkdir()
    (tmp_path / "wsdl/ledger.wsdl").write_bytes((WSDL_DIR / "ledger.wsdl").read_bytes())
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/s").write_bytes(content)
    operation = await post(bind, {"AuthHeader": {"user": {"$file": "secrets/s"}}}, folder=tmp_path / "wsdl")
    assert auth_of(send(operation)) == [("user", value)]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (
            {"user": {"$env": "BRIDGE_SECRET_NOPE"}},
            "AuthHeader.user.$env: the environment variable BRIDGE_SECRET_NOPE is not set",
        ),
        ({"user": {"$env": "BRIDGE_STORE"}}, "user.$env: BRIDGE_STORE can't be named by a route"),
        ({"user": {"$file": "secrets/none"}}, "AuthHeader.user.$file: there is no file secrets/none"),
        ({"user": {"$file": "../x"}}, "user.$file: hidden files and parent folders can't be named here"),
        ({"user": {"$file": ".bridge/local-issuer.pem"}}, "user.$file: hidden files and parent folders"),
        ({"user": {"$file": "/etc/passwd"}}, "user.$file: a file lies below secrets/ in BRIDGE_HOME, or below /run/s"),
        ({"user": {"$file": "issuers.yml"}}, "user.$file: a file lies below secrets/ in BRIDGE_HOME"),
        ({"user": {"$file": "/var/run/secrets/kubernetes.io/x"}}, "user.$file: a file lies below secrets/"),
        ({"user": {"$evn": "X"}}, "transform.soap.headers.AuthHeader.user.$evn: unknown; did you mean $env?"),
        ({"user": {"$x": "X"}}, "AuthHeader.user.$x: unknown; there are $env, $file, $header, $claim"),
        ({"user": {"$env": "A", "$file": "b"}}, "AuthHeader.user: one value can't come from both $env and $file"),
        ({"user": {"$env": "A", "default": "b"}}, "AuthHeader.user.default: it can't stand beside $env"),
        ({"user": {"$header": "A", "defalt": "b"}}, "AuthHeader.user.defalt: it can't stand beside $header"),
        ({"user": {"$claim": 5}}, "AuthHeader.user.$claim: a name is wanted as a string"),
        ({"user": {"$header": "a b"}}, "AuthHeader.user.$header: 'a b' can't be the name of a header"),
        ({"user": {"$header": "A", "default": {"$env": "X"}}}, "user.default: a default is a plain value"),
        ({"user": "a", "usr": {"$claim": "x"}}, "AuthHeader.usr: the schema has no such property here"),
        (
            {"user": "a", "level": {"$env": "BRIDGE_SECRET_LEVEL"}},
            "level.$env: what the environment variable BRIDGE_SECRET_LEVEL holds is not of",
        ),
        (
            {"user": "a", "level": {"$env": "BRIDGE_SECRET_TEN"}},
            "level.$env: what the environment variable BRIDGE_SECRET_TEN holds is not of the",
        ),
        ({"user": "a", "level": {"$claim": "l", "default": 10}}, "AuthHeader.level.default: '10' must be at most 9"),
        ({"user": "a", "unit": {"x": {"$claim": "l"}}}, "AuthHeader.unit.x: the schema has no such property here"),
        ({"level": {"$claim": "l"}}, "transform.soap.headers.AuthHeader.user: it is required"),
        ({"user": "u", "level": "x", "key": {"$env": "BRIDGE_SECRET_LEVEL"}}, "AuthHeader.level: a whole number"),
        ({"$claim": "x"}, "headers.AuthHeader: a single value can't stand here: the schema has an object"),
        ({"user": "u", "@soap:mustUnderstand": 1}, "AuthHeader.@soap:mustUnderstand: true or false is wanted"),
        ({"user": "u", "@soap:relay": True}, "AuthHeader.@soap:relay: unknown; there are @soap:mustUnderstand"),
        ({"user": "u", "@soap:actor": ""}, "AuthHeader.@soap:actor: a URI is wanted as a string"),
        ({"user": "u", "@soap:actor": "a", "@soap:role": "b"}, "AuthHeader: actor and role are one thing"),
    ],
)
async def test_what_is_wrong_is_told_at_bind(
    bind: Bind, monkeypatch: pytest.MonkeyPatch, value: dict[str, Any], told: str
) -> None:
    monkeypatch.delenv("BRIDGE_SECRET_NOPE", raising=False)
    monkeypatch.setenv("BRIDGE_SECRET_LEVEL", "s3cret-level")
    monkeypatch.setenv("BRIDGE_SECRET_TEN", "10")
    with pytest.raises(BindError) as caught:
        await post(bind, {"AuthHeader": value})
    assert told in str(caught.value)
    assert "s3cret" not in str(caught.value)


# --- what each call brings ---


async def test_headers_and_claims(bind: Bind) -> None:
    operation = await post(
        bind,
        {
            "AuthHeader": {
                "@realm": {"$claim": "realm.name"},
                "user": {"$claim": "sub"},
                "level": {"$header": "X-Level"},
                "active": {"$claim": "email_verified"},
                "role": {"$claim": "https://idp.example/roles"},
                "unit": {"@code": {"$header": "X-Unit"}, "#text": {"$claim": "amount"}},
            },
            "Ticket": {"$header": "X-Ticket"},
        },
    )
    claims = {
        "sub": "<ada> & 'co'",
        "realm": {"name": 'a"b'},
        "email_verified": True,
        "https://idp.example/roles": ["a", "b"],
        "amount": 1.5,
    }
    body = send(operation, {"x-level": "3", "x-unit": "kg", "x-ticket": "Gr\u00fcn".encode().decode("latin-1")}, claims)
    assert auth_of(body) == [
        ("user", "<ada> & 'co'"),
        ("level", "3"),
        ("active", "true"),
        ("role", "a"),
        ("role", "b"),
        ("unit", "1.5"),
    ]
    header = header_of(body)
    assert header is not None
    assert header[0].get("realm") == 'a"b'
    assert header[1].tag == f"{H}Ticket"
    assert header[1].text == "Grün"
    # What is not there is left out where the schema can do without it, a block of one value with it.
    body = send(operation, {"x-unit": "kg"}, {"sub": 5, "amount": "2", "https://idp.example/roles": "one"})
    assert auth_of(body) == [("user", "5"), ("role", "one"), ("unit", "2")]
    assert b"Ticket" not in body


async def test_a_body_without_any_block(bind: Bind) -> None:
    operation = await post(bind, {"Ticket": {"$header": "X-Ticket"}})
    assert header_of(send(operation)) is None


@pytest.mark.parametrize(
    ("headers", "faults"),
    [
        ({}, {"X-User": "it is required"}),
        ({"x-user": "u", "x-level": "12"}, {"X-Level": "'12' must be at most 9"}),
        ({"x-user": "u", "x-level": "x"}, {"X-Level": "it is not a whole number"}),
        ({"x-user": "a\x00b"}, {"X-User": "the character U+0000 can't be carried by XML"}),
    ],
)
async def test_missing_and_wrong_headers(bind: Bind, headers: dict[str, str], faults: dict[str, str]) -> None:
    operation = await post(bind, {"AuthHeader": {"user": {"$header": "X-User"}, "level": {"$header": "X-Level"}}})
    with pytest.raises(InvalidParameter) as caught:
        send(operation, headers)
    assert {name: why[:20] for name, why in caught.value.errors} == {name: why[:20] for name, why in faults.items()}


async def test_a_header_given_twice(bind: Bind) -> None:
    operation = await post(bind, {"AuthHeader": {"user": {"$header": "X-User"}, "role": {"$header": "X-Role"}}})
    call = Call("POST", headers=[("x-user", "a"), ("x-user", "b")], body=BODY)
    with pytest.raises(InvalidParameter, match="X-User: it is given twice"):
        codec_of(operation).request(call)
    call = Call("POST", headers=[("x-user", "a"), ("x-role", "b, c"), ("x-role", "d")], body=BODY)
    assert auth_of(codec_of(operation).request(call).body)[1:] == [("role", "b"), ("role", "c"), ("role", "d")]


@pytest.mark.parametrize(
    ("claims", "told"),
    [
        ({}, "Your token has no claim sub, which this operation needs."),
        ({"sub": None}, "Your token has no claim sub"),
        ({"sub": ["a"]}, "Your token's claim sub is not what this operation takes: a single value is wanted."),
        ({"sub": "x", "org": {"level": 10}}, "claim org.level is not what this operation takes: '10' must be at most"),
    ],
)
async def test_missing_and_wrong_claims(bind: Bind, claims: dict[str, Any], told: str) -> None:
    operation = await post(bind, {"AuthHeader": {"user": {"$claim": "sub"}, "level": {"$claim": "org.level"}}})
    with pytest.raises(Forbidden) as caught:
        send(operation, claims=claims)
    assert told in caught.value.detail
    assert caught.value.status == 403


async def test_defaults_stand_in(bind: Bind) -> None:
    headers = {"AuthHeader": {"user": {"$claim": "sub", "default": "guest"}, "level": {"$header": "X-L", "default": 2}}}
    operation = await post(bind, headers)
    assert auth_of(send(operation)) == [("user", "guest"), ("level", "2")]
    assert auth_of(send(operation, {"x-l": "4"}, {"sub": "me"})) == [("user", "me"), ("level", "4")]


async def test_a_choice_of_what_is_there(bind: Bind) -> None:
    both = {"user": "u", "mail": {"$claim": "mail"}, "phone": {"$claim": "phone"}}
    with pytest.raises(BindError, match="AuthHeader: only one of mail, phone may be given"):
        await post(bind, {"AuthHeader": both})


async def test_caches_are_told(bind: Bind) -> None:
    operation = await post(bind, {"AuthHeader": {"user": {"$claim": "sub"}, "level": {"$header": "X-Level"}}})
    answer = codec_of(operation).reply(
        Call(), HttpReply(200, [], envelope('<posted xmlns="urn:ledger"><entry>1</entry></posted>'))
    )
    assert ("vary", "x-level") in answer.headers
    assert ("cache-control", "private") in answer.headers


async def test_header_parameters_are_described(bind: Bind) -> None:
    headers = {
        "AuthHeader": {
            "user": {"$header": "X-User"},
            "level": {"$header": "X-Level"},
            "key": {"$header": "Authorization"},
        }
    }
    found = {each["name"]: each for each in (await post(bind, headers)).describe().operation["parameters"]}
    assert set(found) == {"X-User", "X-Level"}
    assert (found["X-User"]["required"], found["X-User"]["in"]) == (True, "header")
    assert found["X-Level"]["required"] is False
    assert found["X-Level"]["schema"]["maximum"] == 9


# --- mustUnderstand and actor ---


async def test_must_understand(bind: Bind) -> None:
    value = {"@soap:mustUnderstand": True, "@soap:actor": 'urn:"a"', "@realm": "r", "user": {"$claim": "sub"}}
    header = header_of(send(await post(bind, {"AuthHeader": value}), claims={"sub": "s"}))
    assert header is not None
    assert dict(header[0].items()) == {
        f"{{{SOAP11}}}mustUnderstand": "1",
        f"{{{SOAP11}}}actor": 'urn:"a"',
        "realm": "r",
    }
    operation = await post(bind, {"AuthHeader": {**value, "user": "u"}}, options={"port": "Ledger12"})
    header = header_of(send(operation), SOAP12)
    assert header is not None
    assert dict(header[0].items()) == {
        f"{{{SOAP12}}}mustUnderstand": "true",
        f"{{{SOAP12}}}role": 'urn:"a"',
        "realm": "r",
    }


async def test_a_simple_block_that_must_be_understood(bind: Bind) -> None:
    for value in ({"#text": "t"}, {"$claim": "t"}, {"#text": {"$claim": "t"}}):
        operation = await post(bind, {"Ticket": {**value, "@soap:mustUnderstand": False}})
        header = header_of(send(operation, claims={"t": "t"}))
        assert header is not None
        assert header[0].text == "t"
        assert header[0].get(f"{{{SOAP11}}}mustUnderstand") == "0"
