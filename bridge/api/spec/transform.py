"""`transform`: the transformer of a route and its options."""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bridge.wording import suggestion

TRANSFORMERS = "bridge.transformers"  #: the group of their entry points


@cache
def _transformers() -> frozenset[str]:
    """The names of all installed transformers."""
    return frozenset(point.name for point in entry_points(group=TRANSFORMERS))


class Transform(BaseModel):
    """``request`` names the transformer; its options are under its own name, and stay raw in `options`."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    request: Annotated[str, Field(min_length=1)]
    response: Literal["json", "xml", "passthrough"] = "json"

    @model_validator(mode="after")
    def _options_of_one(self) -> Transform:
        for key in self.model_extra or {}:
            if key == self.request or (key in _transformers() and self.request not in _transformers()):
                continue  # if the name of the transformer is wrong, that is what is to be told
            near = suggestion(key, ("request", "response", self.request))
            raise ValueError(f"unknown key {key!r}: the options of {self.request} stand under {self.request!r}{near}")
        return self

    @property
    def options(self) -> Any:
        """The value under the transformer's name; ``{}`` without one."""
        return (self.model_extra or {}).get(self.request, {})
