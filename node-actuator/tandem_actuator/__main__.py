"""``tandem-actuator``: run the node actuator, or forget a mirror's durable record.

Puts settings, ports and loops together. Stopping it (SIGTERM) leaves guests, devices and DRBD
resources exactly as they are.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from prometheus_client import start_http_server

from tandem_actuator import assembly
from tandem_actuator.adapters.lockfile import LockHeld
from tandem_actuator.ports import PortError
from tandem_actuator.settings import Settings, load
from tandem_base.settings import SettingsError, add_flags, ignored_variables
from tandem_kube import NoAccess

log = logging.getLogger("tandem_actuator")


def _version() -> str:
    try:
        return version("tandem")
    except PackageNotFoundError:
        return "source"


def parser() -> argparse.ArgumentParser:
    """Every setting is a flag too; the file holds the rest."""
    top = argparse.ArgumentParser(
        prog="tandem-actuator",
        description="Runs on every host of a Tandem cluster: acts through DRBD and libvirt.",
        epilog="Settings come from --config (YAML; /etc/tandem/actuator.yaml if it exists), then"
        " flags. No environment variable is a setting.",
    )
    top.add_argument("--version", action="version", version=f"tandem-actuator {_version()}")
    top.add_argument("--config", type=Path, metavar="FILE", help="configuration file")
    add_flags(top, Settings)
    commands = top.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("run", help="run the actuator (the default)")
    forget = commands.add_parser(
        "forget",
        help="delete the durable record of a mirror that was deleted on purpose",
        description="Delete this host's durable record of a mirror. Do this only if the mirror"
        " was deleted on purpose: the record is what keeps a stale replica from being promoted.",
    )
    forget.add_argument("mirror", metavar="NAMESPACE.NAME")
    return top


def main(arguments: list[str] | None = None) -> int:
    """Entry point. Exit codes: 0 stopped as asked, 1 an error (logged), 2 bad settings or no way
    to the API server, 3 another actuator runs."""
    options = vars(parser().parse_args(arguments))
    command, config = options.pop("command") or "run", options.pop("config")
    mirror = options.pop("mirror", "")
    try:
        settings = load(config, options)
    except SettingsError as error:
        print(f"tandem-actuator: {error}", file=sys.stderr)
        return 2
    logging.basicConfig(
        level=settings.log_level, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    )
    for name in ignored_variables(Settings, os.environ):
        log.warning(
            "the environment variable %s is ignored: settings are flags, or in a file", name
        )
    try:
        if command == "forget":
            return assembly.forget(settings, mirror)
        with asyncio.Runner() as runner:
            runner.run(_run(settings))
    except NoAccess as error:
        print(f"tandem-actuator: {error}", file=sys.stderr)
        return 2
    except LockHeld as error:
        print(f"tandem-actuator: {error}", file=sys.stderr)
        return 3
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
        main_task = asyncio.create_task(actuator.run())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, main_task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await main_task
        log.info("stopped; guests and devices are left as they are")


if __name__ == "__main__":
    sys.exit(main())
