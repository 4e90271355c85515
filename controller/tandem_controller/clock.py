"""The machine's clocks."""

import time
from datetime import UTC, datetime


class SystemClock:
    """The Clock port."""

    def monotonic_s(self) -> float:
        return time.monotonic()

    def wall(self) -> str:
        return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
