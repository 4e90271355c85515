"""What happened, line by line, with the seconds since the scenario's zero. Called by every part."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Log:
    """Collects lines and shows them as they come. Parts call it from threads of their own."""

    echo: Callable[[str], None] | None = None
    origin_s: float = field(default_factory=time.monotonic)
    lines: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def now_s(self) -> float:
        """Seconds since zero."""
        return time.monotonic() - self.origin_s

    def begin(self) -> None:
        """This moment is zero, and what was said before is forgotten."""
        with self._lock:
            self.origin_s = time.monotonic()
            self.lines = []

    def say(self, where: str, what: str, at_s: float | None = None) -> None:
        """`at_s` is time.monotonic(), for what is told later than it happened."""
        moment_s = (time.monotonic() if at_s is None else at_s) - self.origin_s
        line = f"{moment_s:8.2f}  {where:<14} {what}"
        with self._lock:
            self.lines.append(line)
            if self.echo is not None:
                self.echo(line)
