"""What happened, line by line, as a scenario's log shows it. Called by every part."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Line:
    """One thing that happened. ``at_s`` counts from the moment at which the scenario began."""

    at_s: float
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.at_s:8.2f}  {self.where:<14} {self.what}"


@dataclass
class Log:
    """Collects lines; ``origin_s`` is the scenario's zero. ``ahead_s``: by how much the wall clock
    of a host, of the ``controller`` or of the ``api`` is ahead of the true time of day.
    """

    now_s: Callable[[], float]
    origin_s: float = 0.0
    lines: list[Line] = field(default_factory=list)
    echo: Callable[[str], None] | None = None
    ahead_s: dict[str, float] = field(default_factory=dict)

    def wall(self, whose: str = "") -> str:
        """The time of day by somebody's clock, as if the world began at midnight."""
        return self.moment(whose).isoformat(timespec="milliseconds")

    def moment(self, whose: str = "") -> datetime:
        return MIDNIGHT + timedelta(seconds=self.now_s() + self.ahead_s.get(whose, 0.0))

    def say(self, where: str, what: str) -> None:
        line = Line(self.now_s() - self.origin_s, where, what)
        self.lines.append(line)
        if self.echo is not None:
            self.echo(str(line))
