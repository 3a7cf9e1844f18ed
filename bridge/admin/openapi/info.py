"""What the operator's settings say of the API as a whole."""

from __future__ import annotations

from typing import Any

from bridge.config.settings import Settings


def api_info(settings: Settings, version: str) -> dict[str, Any]:
    """The members of the Info Object (OpenAPI 3.1, section 4.8.2).

    :param version: the gateway's own, for an API without one.
    """
    members = {
        "title": settings.openapi_title,
        "version": settings.openapi_version or version,
        "description": settings.openapi_description,
        "termsOfService": settings.openapi_terms,
        "contact": settings.openapi_contact and settings.openapi_contact.members(),
        "license": settings.openapi_license and settings.openapi_license.members(),
    }
    return {name: value for name, value in members.items() if value is not None}


def api_servers(settings: Settings) -> list[dict[str, Any]]:
    """The Server Objects; none: the routes are served where the document is."""
    return [server.members() for server in settings.openapi_servers]
