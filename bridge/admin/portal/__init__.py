"""The pages that people look at: the API docs and the publishers' console. Everything they load is in this package."""

from bridge.admin.portal.pages import routes

__all__ = ["routes"]
