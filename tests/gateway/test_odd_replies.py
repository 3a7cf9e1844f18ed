"""SOAP replies that are odd, through a serving gateway: what the client gets, and what the log says."""

from __future__ import annotations

from typing import Any

from tests.soap_kit import WSDL_DIR, envelope

SPEC = {
    "route": "/v1/vat",
    "upstream": "svc:80",
    "methods": ["POST"],
    "auth": "none",
    "transform": {"request": "soap", "soap": {"wsdl": "vat.wsdl", "operation": "checkVat"}},
}
BODY = {"countryCode": "IE", "vatNumber": "1"}
ANSWER = envelope(
    '<checkVatResponse xmlns="urn:revenue:vat:types"><countryCode>IE&#x1E;</countryCode></checkVatResponse>'
)


async def test_odd_replies_reach_the_client(gateway: Any, upstream: Any) -> None:
    replies: list[tuple[int, list[tuple[str, str]], bytes]] = []

    async def reply(request: Any) -> tuple[int, list[tuple[str, str]], bytes]:
        return replies[-1]

    upstream.answer = reply
    for file in WSDL_DIR.glob("*"):
        if file.is_file():
            (gateway.home / "wsdl" / file.name).write_bytes(file.read_bytes())
    registered = await gateway.register(SPEC)
    assert registered.status_code == 201, registered.text

    async def call(status: int, body: bytes, *fields: tuple[str, str]) -> Any:
        replies.append((status, [("content-type", "text/xml"), *fields], body))
        return await gateway.client.post("/v1/vat", json=BODY)

    answer = await call(200, b"\r\n" + b'<?xml version="1.0" encoding="utf-16"?>' + ANSWER)
    assert (answer.status_code, answer.json()["countryCode"]) == (200, "IE\ufffd")
    assert (await call(200, envelope(""))).json() == {}
    for status in (202, 204):
        answer = await call(status, b"")
        assert (answer.status_code, answer.content) == (status, b"")
    answer = await call(200, b"<!DOCTYPE html><html><body>db-7.internal</body></html>")
    assert answer.status_code == 502
    assert "HTML page" in answer.json()["detail"]
    assert "db-7" not in answer.text
    for status, body in ((503, b"busy"), (429, b""), (500, envelope("<s:Fault><faultcode>x</faultcode></s:Fault>"))):
        answer = await call(status, body, ("retry-after", "30"))
        assert (answer.status_code, answer.headers.get("retry-after")) == (502, "30"), answer.text
    assert answer.json()["fault"]["code"] == "x"
