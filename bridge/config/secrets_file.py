"""``secrets.yml``: where the routes of publishers may send which secret (`bridge.api.grants.Binding`)."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from bridge.api.grants import Binding
from bridge.config.specfile import faults_of
from bridge.config.yaml import read_document
from bridge.errors import Fault, SettingsError


def read_bindings(path: Path) -> list[Binding]:
    """The entries of ``secrets.yml``. No file: no bindings.

    :raises SettingsError: with every fault found.
    """
    file = str(path)
    entries, document = read_document(path, optional=True)
    if entries is None:
        return []
    if not isinstance(entries, list):
        raise SettingsError(Fault("it must be a list of entries: {secret: …, upstreams: […]}", file=file, line=1))
    bindings: list[Binding] = []
    faults: list[Fault] = []
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            line = document.lines().at((number,)).line
            faults.append(Fault("an entry is a mapping: {secret: …, upstreams: [name:port]}", file=file, line=line))
            continue
        try:
            bindings.append(Binding.model_validate(entry))
        except ValidationError as error:
            faults += faults_of(error, Binding, entry, document.lines().at((number,)), file)
    if faults:
        raise SettingsError(faults)
    return bindings
