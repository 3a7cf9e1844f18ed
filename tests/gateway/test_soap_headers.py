"""SOAP header blocks through a serving gateway: who calls, what they say, and what caches are told."""

from __future__ import annotations

import re
from typing import Any

from tests.soap_kit import SOAP11, WSDL_DIR

QUERY = (WSDL_DIR / "ledger.wsdl").read_text("utf-8")
SOAP = {
    "wsdl": "ledger.wsdl",
    "operation": "post",
    "headers": {"AuthHeader": {"user": {"$claim": "sub"}, "key": {"$header": "X-Branch"}}},
    "pass_headers": ["TransactionInfo"],
    "reply_headers": {"X-Session-Id": "Session/sessionId"},
    "request": {"rename": {"account": "iban"}},
}
SPEC = {
    "route": "/v1/ledger",
    "upstream": "svc:80",
    "methods": ["GET", "POST"],
    "auth": {"type": "JWT", "audience": "LEDGER"},
    "cache": {"ttl": "60s"},
    "transform": {"request": "soap", "soap": SOAP},
}


def answer(user: str) -> bytes:
    return (
        f'<s:Envelope xmlns:s="{SOAP11}" xmlns:h="urn:ledger:headers"><s:Header><h:Session><h:sessionId>of-{user}'
        "</h:sessionId></h:Session><h:TransactionInfo><h:id>9</h:id></h:TransactionInfo></s:Header>"
        '<s:Body><posted xmlns="urn:ledger"><entry>1</entry></posted></s:Body></s:Envelope>'
    ).encode()


async def test_who_calls_goes_into_the_header_and_no_answer_to_another(gateway: Any, upstream: Any) -> None:
    async def reply(request: Any) -> tuple[int, list[tuple[str, str]], bytes]:
        found = re.search(rb":user>(.*?)<", request.body)
        assert found is not None
        return 200, [("content-type", "text/xml")], answer(found[1].decode())

    upstream.answer = reply
    (gateway.home / "wsdl/ledger.wsdl").write_text(QUERY)
    registered = await gateway.register(SPEC)
    assert registered.status_code == 201, registered.text
    for sub in ("ada", "bob"):
        headers = {**gateway.bearer(audience="LEDGER", sub=sub), "x-branch": "b<1>"}
        call = await gateway.client.get("/v1/ledger?iban=x&cents=5", headers=headers)
        assert call.status_code == 200, call.text
        assert call.json() == {"entry": 1, "#headers": {"TransactionInfo": {"id": "9", "step": []}}}
        assert call.headers["x-session-id"] == f"of-{sub}"
        assert call.headers["cache-control"] == "private"
        assert b":key>b&lt;1&gt;<" in upstream.seen[-1].body
    body = {"iban": "x", "cents": 5, "#headers": {"TransactionInfo": {"id": "n"}}}
    wrong = await gateway.client.post("/v1/ledger", json=body, headers=gateway.bearer(audience="LEDGER"))
    assert wrong.status_code == 400
    assert wrong.json()["errors"][0]["pointer"] == "/#headers/TransactionInfo/id"
    assert len(upstream.seen) == 2
