"""Reads the mutants: named, described, minimal changes to the real code, one file for each rule
and for each part of the programs around the decisions.

An edit replaces whole lines. They are written without their common indentation and must be found
exactly once, or the mutant cannot be made: so a mutant cannot rot unseen while the code goes on.
Never imports what is mutated. Called by ``__main__``, ``trial`` and tests.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import yaml

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FOLDER = HERE / "catalogue"


class BadMutant(Exception):
    """A mutant that cannot be made. The message names it, the file and the fix."""


@dataclass(frozen=True)
class Edit:
    """In ``file`` (from the repository's top) the lines ``old`` become ``new``."""

    file: str
    old: str
    new: str

    @property
    def module(self) -> str:
        """Its name for import: every program's folder is on the path."""
        return ".".join(Path(self.file).with_suffix("").parts[1:])


@dataclass(frozen=True)
class Mutant:
    """One way to break one rule, or one part of the programs.

    ``group``: the rule's number, or the part's name. ``dies_by``: the scenario that is known to
    notice, or the test, as pytest calls it. ``spared``: why nothing can notice, for a line of
    defence behind which another one stands; it is then held that nothing does notice.
    """

    name: str
    group: str
    what: str
    edits: tuple[Edit, ...]
    dies_by: str = ""
    spared: str = ""

    @property
    def test(self) -> str:
        """The test that is known to notice; empty if it is a scenario, or nothing."""
        return self.dies_by if "::" in self.dies_by else ""


def read_all(folder: Path = FOLDER) -> tuple[Mutant, ...]:
    """All mutants: in the order of the rules, then part by part. Raises: BadMutant."""
    files = [*sorted(folder.glob("rule-*.yaml")), *sorted(folder.glob("part-*.yaml"))]
    mutants = tuple(mutant for path in files for mutant in _read(path))
    names = [mutant.name for mutant in mutants]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadMutant(f"{folder}: names given twice: {', '.join(twice)}")
    return mutants


def _read(path: Path) -> list[Mutant]:
    group = path.stem.removeprefix("rule-").removeprefix("part-").lstrip("0")
    return [_mutant(group, entry, path) for entry in yaml.load(path.read_text(), yaml.CSafeLoader)]


FIELDS = {"name", "what", "edits", "dies_by", "spared"}


def _mutant(group: str, entry: Mapping[str, Any], path: Path) -> Mutant:
    unknown = set(entry) - FIELDS
    missing = {"name", "what", "edits"} - set(entry)
    if unknown or missing:
        wrong = [f"no field {n!r} is known" for n in sorted(unknown)]
        wrong += [f"{n} is missing" for n in sorted(missing)]
        raise BadMutant(f"{path.name}: {entry.get('name')}: {'; '.join(wrong)}")
    edits = tuple(Edit(e["file"], e["old"], e.get("new") or "") for e in entry["edits"])
    what = " ".join(str(entry["what"]).split())
    return Mutant(
        name=entry["name"],
        group=group,
        what=what,
        edits=edits,
        dies_by=entry.get("dies_by", ""),
        spared=" ".join(str(entry.get("spared", "")).split()),
    )


def mutated_sources(mutant: Mutant, root: Path = ROOT) -> dict[str, tuple[Path, str]]:
    """Every module that the mutant changes, with its file and its new text. Raises: BadMutant."""
    sources: dict[str, tuple[Path, str]] = {}
    for edit in mutant.edits:
        path = root / edit.file
        text = sources[edit.module][1] if edit.module in sources else _text(str(path))
        try:
            sources[edit.module] = (path, replaced(text, edit.old, edit.new))
        except ValueError as error:
            raise BadMutant(
                f"mutant {mutant.name}: in {edit.file} {error}; the code has changed: write the"
                " edit anew"
            ) from None
    return sources


@cache
def _text(path: str) -> str:
    return Path(path).read_text()


def replaced(text: str, old: str, new: str) -> str:
    """The text with these whole lines replaced, at whatever indentation they stand.

    Raises: ValueError if they are not there exactly once.
    """
    lines, wanted = text.splitlines(), dedent(old).strip("\n").splitlines()
    found = [at for at in range(len(lines)) if _depth(lines[at : at + len(wanted)], wanted) >= 0]
    if len(found) != 1:
        raise ValueError(f"these lines are there {len(found)} times, not once:\n{old.rstrip()}\n")
    at = found[0]
    depth = _depth(lines[at : at + len(wanted)], wanted)
    put = indent(dedent(new).strip("\n"), " " * depth).splitlines()
    return "\n".join([*lines[:at], *put, *lines[at + len(wanted) :]]) + "\n"


def _depth(lines: list[str], wanted: list[str]) -> int:
    """By how many spaces the lines are the wanted ones, indented; -1 if they are others."""
    if len(lines) != len(wanted) or not wanted:
        return -1
    depth = len(lines[0]) - len(lines[0].lstrip()) - (len(wanted[0]) - len(wanted[0].lstrip()))
    same = depth >= 0 and lines == [" " * depth + line if line else "" for line in wanted]
    return depth if same else -1
