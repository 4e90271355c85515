"""The machine's clock: CLOCK_BOOTTIME, which goes on while the machine is suspended."""

import time
from datetime import UTC, datetime


class SystemClock:
    """The Clock port."""

    def boottime_s(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def wall(self) -> str:
        return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
