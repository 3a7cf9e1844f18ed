"""A route's deprecation and sunset in the document: a sentence for people, members for clients, names of fields."""

from __future__ import annotations

from typing import Any

from bridge.api.spec.lifecycle import moment_text
from bridge.api.spec.route import RouteSpec


def lifecycle_text(spec: RouteSpec) -> str:
    """Deprecation and sunset in CommonMark, a paragraph each; ``""`` where the route has neither."""
    parts = []
    if (deprecated := spec.deprecated) is not None:
        date = f" as of {moment_text(deprecated.since)}" if deprecated.since else ""
        parts.append(f"**Deprecated**{date}.{_more(deprecated.link)}")
    if (sunset := spec.sunset) is not None:
        parts.append(f"**Sunset:** {moment_text(sunset.date)}; it may be gone after that.{_more(sunset.link)}")
    return "\n\n".join(parts)


def _more(link: str | None) -> str:
    return f" [More about it](<{link}>)." if link else ""


def lifecycle_members(spec: RouteSpec) -> dict[str, Any]:
    """The members ``deprecated`` and ``sunset`` of ``x-bridge``, in their long forms."""
    members: dict[str, Any] = {}
    if spec.deprecated is not None:
        members["deprecated"] = spec.deprecated.model_dump(mode="json", exclude_none=True)
    if spec.sunset is not None:
        members["sunset"] = spec.sunset.model_dump(mode="json", exclude_none=True)
    return members


def lifecycle_names(spec: RouteSpec) -> tuple[str, ...]:
    """The fields of every response that tell of it (`bridge.stages.lifecycle`), as OpenAPI writes them."""
    deprecated, sunset = spec.deprecated, spec.sunset
    names = []
    if deprecated is not None and deprecated.since is not None:
        names.append("Deprecation")
    if sunset is not None:
        names.append("Sunset")
    if any(each is not None and each.link is not None for each in (deprecated, sunset)):
        names.append("Link")
    return tuple(names)
