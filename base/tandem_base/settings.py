"""A program's settings: a YAML file, then flags; later wins. The environment is never read.

A kubelet puts variables named after every Service of the namespace into every pod
(``TANDEM_ADMISSION_PORT=tcp://10.0.0.1:443``), and whoever may make a Service there chooses the
names. No prefix is safe from that, so no variable is a setting; in a pod, an argument may hold
``$(NAME)`` of a variable that the pod's own manifest sets.

Called by the programs' ``__main__``.
"""

import argparse
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

FORMER_PREFIX = "TANDEM_"
"""Variables of this prefix were settings once: who still sets one is told."""


class SettingsError(Exception):
    """The settings cannot be used. One line, for people."""


class BaseSettings(BaseModel):
    """What a program's settings derive from. An unknown name is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


S = TypeVar("S", bound=BaseSettings)


def add_flags(parser: argparse.ArgumentParser, kind: type[BaseSettings]) -> None:
    """Every setting is a flag, too."""
    for name, field in kind.model_fields.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            metavar=name.rsplit("_", maxsplit=1)[-1].upper(),
            help=f"{field.description or name} (default: {field.default})",
        )


def load(kind: type[S], config: Path | None, default: Path, flags: Mapping[str, Any]) -> S:
    """From the file (``config``, else ``default`` if it exists) and from flags that are not None.

    Raises:
        SettingsError: the file cannot be read, or a value is wrong or unknown.
    """
    chosen = config or (default if default.exists() else None)
    values = _file(chosen) if chosen is not None else {}
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return kind.model_validate({**values, **given})
    except ValidationError as error:
        where = f" (file {chosen})" if chosen is not None else ""
        raise SettingsError(f"bad settings{where}: {_in_one_line(error)}") from error


def ignored_variables(kind: type[BaseSettings], environment: Collection[str]) -> list[str]:
    """The variables that are named like settings, and are none."""
    return sorted(
        name
        for name in environment
        if name.removeprefix(FORMER_PREFIX).lower() in kind.model_fields
        and name.startswith(FORMER_PREFIX)
    )


def _file(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(f"{path} holds no settings, but {type(content).__name__}")
    return {str(name).replace("-", "_"): value for name, value in content.items()}


def _in_one_line(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}, not {problem['input']!r}"
        for problem in error.errors()
    )
