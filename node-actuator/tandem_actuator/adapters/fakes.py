"""Stand-ins for the simple ports, with the same semantics and no machine behind them.

All others are the simulator's. For tests only: nothing that runs imports this.
"""

from dataclasses import dataclass


@dataclass
class FakeClock:
    """A clock that a test moves."""

    now_s: float = 1000.0

    def boottime_s(self) -> float:
        return self.now_s

    def wall(self) -> str:
        return f"2026-01-01T00:00:00.{int(self.now_s * 1000) % 1000000:06d}Z"

    def advance(self, seconds: float) -> None:
        self.now_s += seconds
