"""Files that are written from the code: how they are laid out, written, and compared.

It never decides what stands in them. Called by ``crdgen`` and ``policygen``.
"""

import argparse
import difflib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml


class _Dumper(yaml.SafeDumper):
    """Writes a value out each time that it is used, and longer texts as blocks."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


class Folded(str):
    """A text that is written as a folded block: one with quotes in it stays readable."""


def _folded(dumper: yaml.SafeDumper, value: Folded) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=">")


_Dumper.add_representer(str, _text)
_Dumper.add_representer(Folded, _folded)


def dump(value: Mapping[str, Any]) -> str:
    """One object as YAML, its fields in their order."""
    return yaml.dump(dict(value), Dumper=_Dumper, sort_keys=False, width=98, allow_unicode=True)


def differences(directory: Path, files: Mapping[str, str]) -> list[str]:
    """Lines of a unified diff from the files in a folder to these; empty if they are equal."""
    found: list[str] = []
    for name, text in files.items():
        path = directory / name
        old = path.read_text() if path.exists() else ""
        found += difflib.unified_diff(
            old.splitlines(), text.splitlines(), str(path), f"{name} (from the types)", lineterm=""
        )
    return found


def main(
    arguments: Sequence[str] | None,
    prog: str,
    about: str | None,
    directory: Path,
    files: Mapping[str, str],
) -> int:
    """Write the files, or with ``--check`` say how they differ and return 1 if they do."""
    parser = argparse.ArgumentParser(prog=prog, description=about)
    parser.add_argument("directory", nargs="?", type=Path, default=directory)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if they differ")
    options = parser.parse_args(arguments)
    if options.check:
        found = differences(options.directory, files)
        sys.stdout.write("".join(f"{line}\n" for line in found))
        return 1 if found else 0
    for name, text in files.items():
        (options.directory / name).write_text(text)
    return 0
