"""One host with so many guests, from the loss of the other one to its own isolation; → numbers.

A process of its own (``python -m tandem_scale.measure``), whose processor time is the actuator's,
and the pretended parts'. ``host`` starts it and makes tables of what it prints: JSON, one object.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tandem_actuator.core.drbd import DrbdState
from tandem_actuator.run.loop import GUARD_INTERVAL_S
from tandem_api.authority import Mode
from tandem_api.timing import DEFAULT
from tandem_scale.machine import Host

LIMIT_S = 120.0
CALM_S = 4.0
POLL_S = 0.05
TMPFS = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
"""In the place of /run."""
NICE = -10
"""As its unit has it (manifests/systemd)."""


def take_precedence() -> None:
    """As the unit of the actuator has it, if whoever measures may; before other sessions too."""
    with contextlib.suppress(OSError):
        os.setsid()
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
        Path("/proc/self/autogroup").write_text(str(NICE))


def spent_s() -> float:
    """Of this process's threads, and of the programs that it has started and that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


@dataclass
class Sight:
    """What is seen at each turn of the guard, in seconds. ``lateness``: by how much a turn came
    later than it was due. ``ages``: how old each guest's look was then. ``margins``: for how long
    the watchdog could still be fed.
    """

    lateness: list[float] = field(default_factory=list)
    ages: list[float] = field(default_factory=list)
    margins: list[float] = field(default_factory=list)
    last_s: float | None = None


class Watching:
    """Sees the host's guard at work."""

    def __init__(self, host: Host) -> None:
        self.host, self.sight = host, Sight()
        self.starved_since_s: float | None = None
        self.starved_s = 0.0
        host.watchdog.on_feed = self._fed

    def _fed(self, deadline_s: float) -> None:
        now_s, sight = self.host.clock.boottime_s(), self.sight
        if sight.last_s is not None:
            sight.lateness.append(max(0.0, now_s - sight.last_s - GUARD_INTERVAL_S))
        sight.last_s = now_s
        sight.margins.append(deadline_s - now_s)
        for unit in self.host.actuator.units:
            if isinstance(unit.drbd, DrbdState):
                sight.ages.append(now_s - unit.drbd.queried_at_s)
        if deadline_s >= now_s:
            self.starved_since_s = None
        else:
            self.starved_since_s = self.starved_since_s or now_s
            self.starved_s = max(self.starved_s, now_s - self.starved_since_s)

    async def during(self, seconds: float) -> tuple[float, Sight]:
        """→ the share of a processor that was used, and what was seen."""
        self.sight = Sight()
        began_s, before_s = time.monotonic(), spent_s()
        await asyncio.sleep(seconds)
        share = (spent_s() - before_s) / (time.monotonic() - began_s)
        return share, self.sight


async def until(holds: Callable[[], bool], what: str) -> float:
    """Seconds until then. Raises: TimeoutError."""
    began_s = time.monotonic()
    while not holds():
        if time.monotonic() - began_s > LIMIT_S:
            raise TimeoutError(f"not within {LIMIT_S:g} s: {what}")
        await asyncio.sleep(POLL_S)
    return time.monotonic() - began_s


def spread(found: Sequence[float]) -> dict[str, float]:
    """In seconds."""
    ordered = sorted(found) or [0.0]
    return {
        "median": statistics.median(ordered),
        "p99": ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))],
        "max": ordered[-1],
    }


async def quiet(host: Host) -> None:
    """Until everything is told: for some seconds only heartbeats were written."""
    while True:
        before = host.written
        await asyncio.sleep(CALM_S)
        if host.written == before:
            return


@asynccontextmanager
async def running(guests: int, major: int, folder: Path) -> AsyncIterator[Host]:
    """A host whose actuator runs, with everything told and looked at."""
    with tempfile.TemporaryDirectory(dir=TMPFS) as run:
        host = Host(guests, major, folder, Path(run))
        await host.make_objects()
        task = asyncio.create_task(host.actuator.run())
        try:
            await until(lambda: len(host.actuator.units) == guests, "every mirror is told")
            await until(lambda: host.actuator.node.guarding, "the guard has begun")
            yield host
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await asyncio.sleep(POLL_S)  # the program that tells of DRBD's events ends


async def taken_over(host: Host) -> float:
    """Seconds from the first assignment until every guest runs."""
    began_s = time.monotonic()
    await host.assign_all()
    await until(lambda: len(host.executing) == len(host.plans), "every guest runs")
    return time.monotonic() - began_s


async def protected(host: Host) -> float:
    """The other host is back: seconds until every mirror is Mirrored again."""
    await host.drbd.link(up=True)
    await host.peer_returns()

    def whole() -> bool:
        authorities = (unit.mirror.status.authority for unit in host.actuator.units)
        return all(one is not None and one.mode is Mode.MIRRORED for one in authorities)

    return await until(whole, "every mirror is Mirrored")


async def measured(guests: int, major: int, folder: Path, seconds: float) -> dict[str, object]:
    """Everything about one host."""
    async with running(guests, major, folder) as host:
        watching = Watching(host)
        await asyncio.sleep(DEFAULT.link_wait_s + CALM_S)
        takeover_s = await taken_over(host)
        await protected(host)
        await quiet(host)
        looks = host.drbd.looks.taken
        idle, seen_idle = await watching.during(seconds)
        looks_idle = (host.drbd.looks.taken - looks) / seconds
        host.lose_api()
        await asyncio.sleep(DEFAULT.self_fence_seconds + CALM_S)
        looks = host.drbd.looks.taken
        away, seen_away = await watching.during(seconds)
        looks_away = (host.drbd.looks.taken - looks) / seconds
        fenced = guests - len(host.executing)
        return {
            "guests": guests,
            "takeover_s": takeover_s,
            "idle": idle,
            "away": away,
            "fenced": fenced,
            "looks_idle": looks_idle,
            "looks_away": looks_away,
            "lateness_idle": spread(seen_idle.lateness),
            "lateness_away": spread(seen_away.lateness),
            "ages_away": spread(seen_away.ages),
            "margin_away_s": min(seen_away.margins),
            "fencing": await fenced_all(host, watching),
        }


async def fenced_all(host: Host, watching: Watching) -> dict[str, float]:
    """The link is lost too. Seconds from when the kernel says so until a guest executes nothing
    more, and for how long the watchdog was not to be fed meanwhile.
    """
    host.ended.clear()
    watching.starved_s, lost_at_s = 0.0, host.clock.boottime_s()
    asking = asyncio.create_task(host.drbd.link(up=False))
    await until(lambda: not host.executing, "no guest executes")
    fences = [unit.fence_task for unit in host.actuator.units]
    await until(lambda: all(one is None or one.done() for one in fences), "every fence has ended")
    done_s = host.clock.boottime_s() - lost_at_s
    asking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asking
    found = spread([at_s - lost_at_s for at_s in host.ended.values()])
    return {**found, "done": done_s, "starved": watching.starved_s}


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--guests", type=int, required=True)
    parser.add_argument("--drbd", type=int, default=8, choices=(8, 9))
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--log", type=Path, help="the actuator's own log")
    options = parser.parse_args()
    take_precedence()
    handler = logging.FileHandler(options.log or "/dev/null")
    form = "%(asctime)s %(levelname)s %(name)s %(message)s"
    logging.basicConfig(level=logging.INFO, handlers=[handler], format=form)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        found = asyncio.run(measured(options.guests, options.drbd, Path(folder), options.seconds))
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
