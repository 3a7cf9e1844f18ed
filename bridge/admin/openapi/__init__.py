"""The OpenAPI 3.1 document of everything that is published. `document.build_document` is the way in."""

from bridge.admin.openapi.document import build_document, draft_document
from bridge.admin.openapi.info import api_info, api_servers
from bridge.admin.openapi.published import PublishedOperation, for_host, for_tenant

__all__ = [
    "PublishedOperation",
    "api_info",
    "api_servers",
    "build_document",
    "draft_document",
    "for_host",
    "for_tenant",
]
