"""Each operation tells which audience, role and scope it wants, as data and as a sentence."""

from __future__ import annotations

from typing import Any

import pytest

JWT = {"type": "JWT", "audience": ["REVENUE_PUBLIC", "TAX"], "roles": ["clerk"], "scopes": ["vat:read", "vat:write"]}


def entry_of(built: dict[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = built["paths"]["/v1/vat/{countryCode}"]["get"]
    return entry


def test_an_operation_tells_audience_role_and_scopes(publish: Any, document: Any) -> None:
    entry = entry_of(document(publish(auth=JWT)))
    assert entry["x-bridge"]["access"] == [
        {"type": "JWT", "audiences": ["REVENUE_PUBLIC", "TAX"], "roles": ["clerk"], "scopes": ["vat:read", "vat:write"]}
    ]
    assert entry["description"] == (
        "**Access:** a bearer token (JWT) for the audience `REVENUE_PUBLIC` or `TAX` with the role `clerk` and the "
        "scopes `vat:read` and `vat:write`."
    )


def test_clients_can_read_where_credentials_stand(publish: Any, document: Any) -> None:
    entry = entry_of(document(publish(auth={"type": "JWT", "from": ["header", {"cookie": "session"}]})))
    assert entry["x-bridge"]["access"] == [{"type": "JWT", "from": ["header", {"cookie": "session"}]}]


@pytest.mark.parametrize(
    ("auth", "text"),
    [
        ({"type": "api_key", "scopes": ["a"]}, "an API key in `X-API-Key` with the scope `a`."),
        (
            {"any": [{"type": "api_key", "header": "X-Key"}, {"type": "JWT", "issuer": "https://idp.example"}]},
            "an API key in `X-Key`, or a bearer token (JWT) from `https://idp.example`.",
        ),
        (
            {"type": "JWT", "from": ["header", {"cookie": "session"}, {"query": "token"}], "roles": ["clerk"]},
            "a bearer token (JWT) in the Authorization header, the cookie `session` or the query parameter `token` "
            "with the role `clerk`.",
        ),
        ({"type": "api_key", "from": [{"query": "api_key"}]}, "an API key in the query parameter `api_key`."),
        ({"type": "api_key", "from": ["header", {"cookie": "k"}]}, "an API key in `X-API-Key` or the cookie `k`."),
        ({"type": "JWT", "proof": "certificate"}, "a bearer token (JWT) that is bound to the client's certificate."),
        ({"type": "JWT", "proof": "dpop"}, "a bearer token (JWT) that is bound to a key (DPoP)."),
        ({"any": [{"type": "none"}, {"type": "mtls"}]}, "no credentials, or a client certificate."),
        ({"type": "JWT", "audience": "a`<b>`"}, "a bearer token (JWT) for the audience ``` a`<b>` ```."),
    ],
)
def test_each_kind_of_credentials_is_named(publish: Any, document: Any, auth: Any, text: str) -> None:
    assert entry_of(document(publish(auth=auth)))["description"] == f"**Access:** {text}"


def test_what_one_method_needs_is_told_at_that_method(publish: Any, document: Any) -> None:
    auth = {
        "type": "JWT",
        "roles": ["reader", "clerk"],
        "methods": {"PUT": {"roles": ["clerk"], "scopes": ["w"]}, "GET": {"roles": ["reader", "clerk"]}},
    }
    paths = document(publish(auth=auth, method="*", methods=["GET", "PUT", "POST"]))["paths"]["/v1/vat/{countryCode}"]
    texts = {method: paths[method]["description"].partition(" with ")[2] for method in ("get", "put", "post")}
    assert texts == {
        "get": "the role `reader` or `clerk`.",
        "put": "the role `reader` or `clerk` and the role `clerk` and the scope `w`.",
        "post": "the role `reader` or `clerk`.",
    }
    assert paths["put"]["x-bridge"]["access"] == [
        {"type": "JWT", "roles": ["reader", "clerk"], "method_roles": ["clerk"], "scopes": ["w"]}
    ]


def test_an_open_operation_asks_for_nothing(publish: Any, document: Any) -> None:
    entry = entry_of(document(publish(auth="none")))
    assert "description" not in entry
    assert "access" not in entry["x-bridge"]
