"""A program's settings: a YAML file, then flags; later wins. The environment is never read.

A kubelet puts variables named after every Service of the namespace into every pod
(``TANDEM_ADMISSION_PORT=tcp://10.0.0.1:443``), and whoever may make a Service there chooses the
names. No prefix is safe from that, so no variable is a setting; in a pod, an argument may hold
``$(NAME)`` of a variable that the pod's own manifest sets.

Whatever is wrong is told with the setting, its value, what would do, and where it was written.
Called by ``command_line``.
"""

import difflib
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tandem_base.logs import Format, Level

FORMER_PREFIX = "TANDEM_"
"""Variables of this prefix were settings once: who still sets one is told."""
SHOWN = 100
"""How much of a wrong value is repeated."""


class SettingsError(Exception):
    """The settings cannot be used. One line, for people."""


class BaseSettings(BaseModel):
    """What a program's settings derive from. An unknown name is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    log_level: Annotated[Level, Field(description="What is logged: this and graver.")] = Level.INFO
    log_format: Annotated[
        Format, Field(description="How: lines for people, or a JSON object a line.")
    ] = Format.TEXT


S = TypeVar("S", bound=BaseSettings)


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
        where = {
            **dict.fromkeys(values, f"in {chosen}"),
            **{name: f"flag {flag_of(name)}" for name in given},
        }
        told = (_told(kind, problem, where) for problem in error.errors())
        raise SettingsError(f"bad settings: {'; '.join(told)}") from error


def flag_of(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def unknown(name: str, where: str, known: Iterable[str]) -> str:
    """What to say of a name that is no setting."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    advice = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
    return f"{name} ({where}) is no setting; {advice}"


def wanted(kind: type[BaseSettings], name: str) -> str:
    """What may be written there, in words, from the field's own type."""
    schema = _schema(kind)
    found = schema["properties"][name]
    options = [part for part in found.get("anyOf", [found]) if part.get("type") != "null"]
    shape = options[0]
    if "$ref" in shape:
        shape = schema["$defs"][shape["$ref"].rpartition("/")[2]]
    if "enum" in shape:
        *others, last = shape["enum"]
        return f"{', '.join(others)} or {last}"
    if shape["type"] == "integer":
        return f"a whole number from {shape['minimum']} to {shape['maximum']}"
    if shape["type"] == "boolean":
        return "true or false"
    return "a path" if shape.get("format") == "path" else "text"


def ignored_variables(kind: type[BaseSettings], environment: Collection[str]) -> list[str]:
    """The variables that are named like settings, and are none."""
    return sorted(
        name
        for name in environment
        if name.removeprefix(FORMER_PREFIX).lower() in kind.model_fields
        and name.startswith(FORMER_PREFIX)
    )


@cache
def _schema(kind: type[BaseSettings]) -> Mapping[str, Any]:
    """Made once: asked for each setting, as a program starts."""
    return kind.model_json_schema()


def _told(kind: type[BaseSettings], problem: Any, where: Mapping[str, str]) -> str:
    name = str(problem["loc"][0])
    if name not in kind.model_fields:
        return unknown(name, where[name], kind.model_fields)
    if problem["type"] == "value_error":
        return f"{name} {problem['ctx']['error']}"
    value = "nothing" if problem["input"] is None else " ".join(str(problem["input"]).split())
    short = value if len(value) <= SHOWN else f"{value[:SHOWN]}…"
    return f"{name}: {short} ({where[name]}) will not do; write {wanted(kind, name)}"


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
        raise SettingsError(
            f"{path} holds no settings, but {type(content).__name__}; write lines of name: value"
        )
    return {str(name).replace("-", "_"): value for name, value in content.items()}
