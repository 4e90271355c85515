"""What was played and how it went, as a table in Markdown. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime


@dataclass(frozen=True)
class Row:
    """One step. ``broken``: it did not go, so that nothing after it was played."""

    phase: str
    what: str
    took_s: float
    told: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    broken: bool = False

    @property
    def good(self) -> bool:
        return not self.problems and not self.broken

    def of(self, phase: str) -> Row:
        """The same, in the phase of this name."""
        return replace(self, phase=phase)


def table(old: str, new: str, rows: Sequence[Row]) -> list[str]:
    """The rows, each phase named once."""
    today = datetime.now(tz=UTC).date().isoformat()
    lines = [
        f"From {old} to {new}, on {today}:",
        "",
        "| state | played | outcome | s |",
        "|---|---|---|---|",
    ]
    phase = ""
    for row in rows:
        named = "" if row.phase == phase else row.phase
        phase = row.phase
        lines.append(f"| {named} | {row.what} | {_outcome(row)} | {row.took_s:.0f} |")
    return lines


def _outcome(row: Row) -> str:
    said = [*(f"**{each}**" for each in row.problems), *row.told]
    return "; ".join(each.replace("\n", " ").replace("|", "/") for each in said) or "as it was"
