"""How the gateway names itself to services (RFC 9110, section 10.1.5)."""

from __future__ import annotations

from importlib.metadata import version

USER_AGENT = f"hms-bridge/{version('hms-bridge')}"
