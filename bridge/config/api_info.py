"""The settings ``openapi_…``: what the OpenAPI document says of the API as a whole, and where it is served.

In the environment each is one text; the file of ``--config`` may have mappings and lists too.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

MAX_SERVERS = 20
_URL = re.compile(r"https?://[^\s<>\"\\^`{|}/?#]+[^\s<>\"\\^`{|}]*")
_SERVER = re.compile(r"(?:https?://[A-Za-z0-9.:\[\]_-]+)?(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)*/?")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")


def _is_url(text: str) -> bool:
    return _URL.fullmatch(text) is not None


def _url(text: str) -> str:
    """:raises ValueError: it is no URL of a page."""
    if not _is_url(text):
        raise ValueError(f"{text[:80]!r} is no URL; write https://…")
    return text


def _email(text: str) -> str:
    """:raises ValueError: it is no address."""
    if not _EMAIL.fullmatch(text):
        raise ValueError(f"{text[:80]!r} is no e-mail address")
    return text


def _server_url(text: str) -> str:
    """Without a final slash, since paths are appended.

    :raises ValueError: it is neither a URL without a query nor a path.
    """
    if not text or not _SERVER.fullmatch(text) or any(part in (".", "..") for part in text.split("/")):
        raise ValueError(f"{text[:80]!r} is no address of an API; write https://host/path, or /path")
    return text.rstrip("/") or "/"


Url = Annotated[str, Field(max_length=2048), AfterValidator(_url)]
Text = Annotated[str, Field(min_length=1, max_length=200)]


class InfoModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    def members(self) -> dict[str, Any]:
        """The members of OpenAPI's object, without those that are not given."""
        return self.model_dump(exclude_none=True)


class ApiContact(InfoModel):
    """OpenAPI 3.1, section 4.8.3."""

    name: Text | None = None
    url: Url | None = None
    email: Annotated[str, Field(max_length=320), AfterValidator(_email)] | None = None


class ApiLicense(InfoModel):
    """OpenAPI 3.1, section 4.8.4."""

    name: Text
    identifier: Annotated[str, Field(pattern=r"^[A-Za-z0-9.+() -]+$", max_length=200)] | None = None  #: of SPDX
    url: Url | None = None

    @model_validator(mode="after")
    def _one(self) -> ApiLicense:
        if self.identifier is not None and self.url is not None:
            raise ValueError("identifier and url exclude each other")
        return self


class ApiServer(InfoModel):
    """OpenAPI 3.1, section 4.8.5. A path is below the origin that the document comes from."""

    url: Annotated[str, Field(max_length=2048), AfterValidator(_server_url)]
    description: Text | None = None


def _contact(value: object) -> object:
    """``API team, api@example.org, https://example.org`` in any order, each at most once.

    :raises ValueError: a part stands twice.
    """
    if not isinstance(value, str):
        return value
    return _parts(value, lambda part: "url" if _is_url(part) else "email" if _EMAIL.fullmatch(part) else "name")


def _license(value: object) -> object:
    """``EUPL-1.2``, or with a comma and its URL.

    :raises ValueError: a part stands twice.
    """
    return _parts(value, lambda part: "url" if _is_url(part) else "name") if isinstance(value, str) else value


def _parts(text: str, kind: Any) -> dict[str, str]:
    parts: dict[str, str] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        name = kind(part)
        if name in parts:
            raise ValueError(f"{parts[name]!r} and {part!r} are both its {name}")
        parts[name] = part
    if not parts:
        raise ValueError("it must not be empty")
    return parts


def _servers(value: object) -> object:
    """URLs separated by commas, or a list of URLs and mappings."""
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list | tuple):
        return value
    return tuple({"url": item.strip()} if isinstance(item, str) else item for item in items if item != "")


Contact = Annotated[ApiContact, BeforeValidator(_contact)]
License = Annotated[ApiLicense, BeforeValidator(_license)]
Servers = Annotated[tuple[ApiServer, ...], BeforeValidator(_servers), Field(strict=False, max_length=MAX_SERVERS)]
