"""``hms-bridge import NAME``: a command for each installed transformer that is `bridge.api.capabilities.Importing`.

A transformer is loaded when its command is used; the help of ``import`` loads all.
"""

from __future__ import annotations

import os
from functools import cache
from inspect import Parameter, Signature
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.core import TyperGroup

from bridge.api.capabilities import Importing, capability
from bridge.api.importing import ImportOutput
from bridge.cli.files import check_free
from bridge.cli.terminal import ConfigFile, complain, console, explained, out, run, settings_of
from bridge.errors import SettingsError
from bridge.plugins import discover, load_transformer

_OUTPUT = typer.Option(
    None,
    "-o",
    "--output",
    metavar="FILE",
    help="Write the spec to FILE, and copy the contract into the gateway's home.",
)
_FORCE = typer.Option(False, "--force", help="Replace files that exist already.")
_ADDRESS = typer.Option(
    "", "--address", metavar="HOST:PORT", help="Where the service is, for mesh.yml; else what the contract says."
)


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
        from bridge.cli.offline import imported, installed

        output, force, address = (values.pop(key) for key in ("output_file", "force", "address"))
        settings = settings_of(config)
        target = None if output in (None, Path("-")) else output
        with explained():
            check_target(target, force)
        result = ImportOutput(saves=target is not None, replaces=force)
        text, notes = run(lambda: imported(settings, name, values, result))
        if target is None:
            out(text.rstrip("\n"))
        for note in notes:
            complain(note)
        if target is not None:
            for line in run(lambda: installed(settings, text, result, target, address, config)):
                console().print(line, markup=False)

    parameters = [_parameter(field, options.model_fields[field]) for field in options.model_fields]
    for key, default, annotation in (
        ("output_file", _OUTPUT, Path | None),
        ("force", _FORCE, bool),
        ("address", _ADDRESS, str),
        ("config", None, ConfigFile),
    ):
        parameters.append(Parameter(key, Parameter.KEYWORD_ONLY, default=default, annotation=annotation))
    command.__signature__ = Signature(parameters)  # type: ignore[attr-defined]  # what typer reads
    app = typer.Typer(add_completion=False)
    # protoc's users write --proto_path.
    names = {"token_normalize_func": lambda option: option.replace("_", "-")}
    app.command(name, help=options.__doc__, context_settings=names)(command)
    return typer.main.get_command(app)


def check_target(file: Path | None, force: bool) -> None:
    """:raises SettingsError: the spec can't be written to `file`."""
    if file is not None and os.path.isdir(file):
        raise SettingsError(f"--output: {file} is a folder; name a file in it, such as {file / 'service.yml'}")
    if file is not None and not force:
        check_free({file: None})


def _parameter(name: str, field: FieldInfo) -> Parameter:
    """The command's parameter for a field of its options, as `bridge.api.capabilities.Importing` says."""
    if field.is_required():
        info = typer.Argument(help=field.description)
    else:
        default = field.get_default(call_default_factory=True)
        extra = field.json_schema_extra
        short = [str(extra["short"])] if isinstance(extra, dict) and "short" in extra else []
        info = typer.Option(default, f"--{name.replace('_', '-')}", *short, help=field.description)
    return Parameter(name, Parameter.KEYWORD_ONLY, default=info, annotation=field.annotation)
