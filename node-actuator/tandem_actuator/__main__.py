"""``tandem-actuator``: run the node actuator, or forget a mirror's durable record.

Puts settings, ports and loops together. Stopping it (SIGTERM) leaves guests, devices and DRBD
resources exactly as they are.
"""

import asyncio
import contextlib
import faulthandler
import logging
import signal
import sys

from prometheus_client import start_http_server

from tandem_actuator import assembly
from tandem_actuator.adapters.files.lockfile import LockHeld
from tandem_actuator.ports import PortError
from tandem_actuator.run.collecting import Collecting
from tandem_actuator.settings import DEFAULT_CONFIG, Settings
from tandem_base.command_line import Asked, Command, Program
from tandem_kube import NoAccess

log = logging.getLogger("tandem_actuator")

PROGRAM = Program(
    name="tandem-actuator",
    description="Runs on every host of a Tandem cluster: acts through DRBD and libvirt.",
    settings=Settings,
    default_file=DEFAULT_CONFIG,
    commands=(
        Command("run", "run the actuator"),
        Command(
            "forget",
            "delete the durable record of a mirror that was deleted on purpose",
            "Delete this host's durable record of a mirror. Do this only if the mirror was deleted"
            " on purpose: the record is what keeps a stale replica from being promoted.",
            ("mirror", "NAMESPACE.NAME"),
        ),
    ),
)


def main(arguments: list[str] | None = None) -> int:
    """Entry point. Exit codes: 0 stopped as asked, 1 an error (logged), 2 bad settings or no way
    to the API server, 3 another actuator runs."""
    return PROGRAM.run(arguments, _act, ends={NoAccess: 2, LockHeld: 3})


def _act(asked: Asked[Settings]) -> int:
    try:
        if asked.command == "forget":
            return assembly.forget(asked.settings, asked.argument)
        faulthandler.enable()  # the service manager ends one that hangs by SIGABRT: it says where
        with asyncio.Runner() as runner:
            runner.run(_run(asked.settings))
    except LockHeld:
        raise
    except PortError as error:
        log.critical("%s", error)
        return 1
    return 0


async def _run(settings: Settings) -> None:
    """Until SIGTERM or SIGINT."""
    async with assembly.assembled(settings) as (actuator, metrics):
        if settings.metrics_port:
            start_http_server(
                settings.metrics_port, settings.metrics_address, registry=metrics.registry
            )
        actuator.heart.after_each = Collecting(actuator.ports.clock).heartbeat
        main_task = asyncio.create_task(actuator.run())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, main_task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await main_task
        log.info("stopped; guests and devices are left as they are")


if __name__ == "__main__":
    sys.exit(main())
