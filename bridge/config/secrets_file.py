"""``secrets.yml``: where the routes of publishers may send which secret (`bridge.api.grants.Binding`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from bridge.api.grants import Binding
from bridge.config.specfile import faults_of, line_of, plain
from bridge.errors import Fault, SettingsError


def read_bindings(path: Path) -> list[Binding]:
    """The entries of ``secrets.yml``. No file: no bindings.

    :raises SettingsError: with every fault found.
    """
    file = str(path)
    try:
        document: Any = YAML(typ="rt", pure=True).load(path.read_text("utf-8"))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SettingsError(Fault(error.strerror or str(error), file=file)) from None
    except UnicodeDecodeError:
        raise SettingsError(Fault("it is not UTF-8 text", file=file)) from None
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise SettingsError(Fault(f"it is not YAML: {error.problem}", file=file, line=line)) from None
    except (YAMLError, RecursionError, ValueError) as error:
        raise SettingsError(Fault(f"it is not YAML: {str(error).splitlines()[0]}", file=file)) from None
    if document is None:
        return []
    if not isinstance(document, list):
        raise SettingsError(Fault("it must be a list of entries: {secret: …, upstreams: […]}", file=file, line=1))
    bindings: list[Binding] = []
    faults: list[Fault] = []
    for at, node in enumerate(document):
        if not isinstance(node, dict):
            reason = "an entry is a mapping: {secret: …, upstreams: [name:port]}"
            faults.append(Fault(reason, file=file, line=line_of(document, (at,))))
            continue
        try:
            bindings.append(Binding.model_validate(plain(node)))
        except ValidationError as error:
            faults += faults_of(error, Binding, node, file)
    if faults:
        raise SettingsError(faults)
    return bindings
