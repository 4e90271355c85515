"""What the API server refused of one kind of report, and how long that is not tried again.

Held by ``unit``, asked by ``reports``.
"""

from dataclasses import dataclass

REFUSED_PAUSE_MAX_S = 60.0


@dataclass
class Refused:
    """Reports that the API server refused in a row. What it refuses it will refuse again."""

    times: int = 0
    not_before_s: float = 0.0

    def again(self, now_s: float) -> None:
        self.times += 1
        self.not_before_s = now_s + min(2.0**self.times, REFUSED_PAUSE_MAX_S)
