"""Secrets of the gateway itself in the operator's files, which no route may send."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bridge.api.grants import SECRET_DIRS, SECRET_PREFIX
from bridge.api.values import SecretFile
from bridge.transport.client_auth import Text


def not_for_routes(name: str) -> str:
    """:raises ValueError: routes may send the environment variable `name`, or it is a setting."""
    if name.startswith("BRIDGE_"):
        raise ValueError(
            f"an issuer's secret can't stand in {name}: routes may send variables {SECRET_PREFIX}…, and every other"
            " BRIDGE_… is a setting; give the variable another name"
        )
    return name


class OwnSecret(BaseModel):
    """``{$env: NAME}`` or ``{$file: path}``, relative to the gateway's home."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    env: str | None = Field(None, alias="$env", min_length=1)
    file: str | None = Field(None, alias="$file", min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _reference(cls, value: Any) -> Any:
        if not isinstance(value, dict | OwnSecret):
            raise ValueError("it must be {$env: NAME} or {$file: path}, so that this file holds no secret")
        return value

    @model_validator(mode="after")
    def _for_the_gateway(self) -> OwnSecret:
        if (self.env is None) == (self.file is None):
            raise ValueError("it needs either $env or $file")
        if self.env is not None:
            not_for_routes(self.env)
        return self

    @property
    def words(self) -> str:
        return f"the environment variable {self.env}" if self.env is not None else f"the file {self.file}"

    def open(self, home: Path, environ: Mapping[str, str]) -> Text:
        """What gives its text at each use; a file is read again when it has changed.

        :raises ValueError: it can't be read, is empty, or lies where routes may send files from.
        """
        if self.env is not None:
            value = environ.get(self.env)
            if value is None:
                raise ValueError(f"{self.words} is not set")
            text: Text = lambda: value  # noqa: E731  # typed
        else:
            path = Path(os.path.normpath(home / str(self.file)))
            if any(path.is_relative_to(home / folder) for folder in SECRET_DIRS):
                raise ValueError(
                    f"an issuer's secret can't stand in {self.file}: routes may send files of that folder; move it to"
                    " another one"
                )
            text = SecretFile(path, str(self.file)).text
        if not text():
            raise ValueError(f"{self.words} is empty")
        return text
