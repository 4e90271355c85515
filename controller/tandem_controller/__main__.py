"""``tandem-controller``: decide where guests run.

Stopping it (SIGTERM) changes nothing for guests that run: the Lease is given up at once, and
another replica leads when it looks next, within a second.
"""

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Callable
from functools import partial

from tandem_base.command_line import Asked, Command, Program, program_version
from tandem_controller.assembly import assembled
from tandem_controller.edge.admission import serve
from tandem_controller.settings import DEFAULT_CONFIG, Settings
from tandem_kube import NoAccess

log = logging.getLogger("tandem_controller")

PROGRAM = Program(
    name="tandem-controller",
    description="Decides on which host each guest runs. Run two replicas of it.",
    settings=Settings,
    default_file=DEFAULT_CONFIG,
    commands=(
        Command("run", "run the controller"),
        Command("admission", "serve the admission webhook"),
    ),
)

COLLECTED_AFTER = (50_000, 10, 10)
"""With thousands of guests there are millions of objects that stay, and to look for garbage among
all of them stops every thread for half a second or more. So it is looked for more rarely: among all
after some five million that have come, and were not freed by themselves."""
SWITCH_S = 0.001
"""So long a thread goes on when others wait: one that makes a plan, while Leases are to be read."""


def main(arguments: list[str] | None = None) -> int:
    """Entry point. Exit codes: 0 stopped as asked, 1 failed, 2 bad settings."""
    return PROGRAM.run(arguments, _act, ends={NoAccess: 2, OSError: 2, ValueError: 2})


def _act(asked: Asked[Settings]) -> int:
    gc.set_threshold(*COLLECTED_AFTER)
    sys.setswitchinterval(SWITCH_S)
    # kopf tells of every event of every object.
    logging.getLogger("kopf").setLevel(max(logging.WARNING, logging.getLogger().level))
    program = _admission if asked.command == "admission" else _run
    with asyncio.Runner() as runner:
        runner.run(program(asked.settings))
    return 0


def _on_signals(act: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, act)


async def _run(settings: Settings) -> None:
    """Until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    _on_signals(stop.set)
    async with assembled(settings, program_version()) as replica:
        await replica.run(stop)
    log.info("stopped; guests are left as they are")


async def _admission(settings: Settings) -> None:
    """Until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    take_signals = partial(_on_signals, stop.set)
    take_signals()
    await serve(settings, stop, spawned=take_signals)


if __name__ == "__main__":
    sys.exit(main())
