"""``hms-bridge import NAME``: a command for each installed transformer that is `bridge.api.capabilities.Importing`.

A transformer is loaded when its command is used; the help of ``import`` loads all.
"""

from __future__ import annotations

from functools import cache
from inspect import Parameter, Signature
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.core import TyperGroup

from bridge.api.capabilities import Importing, capability
from bridge.cli.terminal import ConfigFile, complain, explained, out, run, settings_of
from bridge.plugins import discover, load_transformer


class ImportCommands(TyperGroup):
    """The group ``import``, whose commands are those of the transformers."""

    def list_commands(self, ctx: Any) -> list[str]:
        with explained():
            return [name for name in sorted(discover()) if import_command(name) is not None]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return import_command(cmd_name)


@cache
def import_command(name: str) -> Any:
    """The import command of the transformer `name`; None if it has none.

    A plug-in that fails to load is reported once and left out.
    """
    try:
        point = discover().get(name)
        importer = capability(load_transformer(point), Importing) if point is not None else None
        return _command(name, importer.import_options) if importer is not None else None
    except Exception as error:
        complain(f"import {name} is left out: {error}")
        return None


def _command(name: str, options: type[BaseModel]) -> Any:
    def command(config: Path | None, **values: Any) -> None:
        from bridge.cli.offline import imported

        settings = settings_of(config)
        text, notes = run(lambda: imported(settings, name, values))
        out(text.rstrip("\n"))
        for note in notes:
            complain(note)

    parameters = [_parameter(field, options.model_fields[field]) for field in options.model_fields]
    parameters.append(Parameter("config", Parameter.KEYWORD_ONLY, default=None, annotation=ConfigFile))
    command.__signature__ = Signature(parameters)  # type: ignore[attr-defined]  # what typer reads
    app = typer.Typer(add_completion=False)
    app.command(name, help=options.__doc__)(command)
    return typer.main.get_command(app)


def _parameter(name: str, field: FieldInfo) -> Parameter:
    """The command's parameter for a field of its options, as `bridge.api.capabilities.Importing` says."""
    if field.is_required():
        info = typer.Argument(help=field.description)
    else:
        default = field.get_default(call_default_factory=True)
        info = typer.Option(default, f"--{name.replace('_', '-')}", help=field.description)
    return Parameter(name, Parameter.KEYWORD_ONLY, default=info, annotation=field.annotation)
