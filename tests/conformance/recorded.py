"""Sequences as files, with what the kernels did: so that the simulator is held to it everywhere.

A file has a ``title``, and ``steps``: each with its command (``do``) and what was seen after it.
Called by ``__main__``, which writes them, and by the unit tests, which only read.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from conformance.language import Played, Seen

FOLDER = Path(__file__).with_name("recorded")


def files(folder: str = ".") -> Sequence[Path]:
    """All of them, or those of ``named`` or ``random``, in order."""
    return sorted((FOLDER / folder).rglob("*.yaml"))


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


def save(path: Path, title: str, played: Played) -> None:
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
    content = {"title": title, "steps": steps, "survive": survive}
    path.parent.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(content, sort_keys=False, width=100, default_flow_style=None)
    path.write_text(text)


def _read(path: Path) -> Mapping[str, Any]:
    content: Mapping[str, Any] = yaml.safe_load(path.read_text())
    return content
