"""Sequences as files, with what the kernels did: so that the simulator is held to it everywhere.

A file has a ``title``, and ``steps``: each with its command (``do``) and what was seen after it.
What kernels with DRBD 9 did stands in a folder of its own, under the same names; ``drbd`` says
there which version it was. Called by ``__main__``, which writes them, and by the unit tests, which
only read.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from conformance.language import Played, Seen

FOLDERS = {
    8: Path(__file__).with_name("recorded"),
    9: Path(__file__).with_name("recorded_nine"),
}
"""By DRBD's major version."""


def files(folder: str = ".", major: int = 8) -> Sequence[Path]:
    """All of them, or those of ``named`` or ``random``, in order."""
    return sorted((FOLDERS[major] / folder).rglob("*.yaml"))


def major_of(path: Path) -> int:
    """Which DRBD did what stands in this file."""
    beside = (major for major, folder in FOLDERS.items() if path.resolve().is_relative_to(folder))
    return next(beside, 8)


def counterpart(path: Path, major: int) -> Path:
    """Where the same sequence is written down as another DRBD plays it."""
    if major_of(path) == major:
        return path
    return FOLDERS[major] / path.resolve().relative_to(FOLDERS[major_of(path)])


def steps_of(path: Path) -> tuple[str, ...]:
    return tuple(step["do"] for step in _read(path)["steps"])


def title_of(path: Path) -> str:
    return str(_read(path).get("title", path.stem))


def load(path: Path) -> Played:
    """Raises: KeyError if it was not recorded yet."""
    raw = _read(path)
    writes: dict[int, str] = {}
    results: list[str] = []
    seen = []
    for step in raw["steps"]:
        writes |= step.get("writes", {})
        for number, result in step.get("results", {}).items():
            results[number - 1 :] = [*results[number - 1 : number - 1], result, *results[number:]]
        seen.append(Seen(step["a"], step["b"], dict(writes), list(results)))
    return Played(steps_of(path), tuple(seen), raw["survive"])


def save(path: Path, title: str, played: Played, drbd: str = "") -> None:
    """Only what changed of writes and results is written at each step."""
    steps = []
    before = Seen("", "", {}, ())
    for do, seen in zip(played.steps, played.seen, strict=True):
        step: dict[str, Any] = {"do": do, "a": seen.a, "b": seen.b}
        writes = {n: s for n, s in seen.writes.items() if before.writes.get(n) != s}
        results = {
            n: r
            for n, r in enumerate(seen.results, 1)
            if n > len(before.results) or before.results[n - 1] != r
        }
        step |= {k: v for k, v in (("writes", writes), ("results", results)) if v}
        steps.append(step)
        before = seen
    survive = {side: list(numbers) for side, numbers in played.survive.items()}
    version = {"drbd": drbd} if drbd else {}
    content = {"title": title, **version, "steps": steps, "survive": survive}
    path.parent.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(content, sort_keys=False, width=100, default_flow_style=None)
    path.write_text(text)


def _read(path: Path) -> Mapping[str, Any]:
    content: Mapping[str, Any] = yaml.safe_load(path.read_text())
    return content
