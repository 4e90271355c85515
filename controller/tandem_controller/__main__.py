"""``tandem-controller``: decide where guests run.

Stopping it (SIGTERM) changes nothing for guests that run: the Lease is given up at once, and
another replica leads when it looks next, within a second.
"""

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tandem_base.settings import SettingsError, add_flags, ignored_variables
from tandem_controller.admission import serve
from tandem_controller.assembly import assembled
from tandem_controller.settings import Settings, load
from tandem_kube import NoAccess

log = logging.getLogger("tandem_controller")


def _version() -> str:
    try:
        return version("tandem")
    except PackageNotFoundError:
        return "source"


def parser() -> argparse.ArgumentParser:
    """Every setting is a flag too; the file holds the rest."""
    top = argparse.ArgumentParser(
        prog="tandem-controller",
        description="Decides on which host each guest runs. Run two replicas of it.",
        epilog="Settings come from --config (YAML; /etc/tandem/controller.yaml if it exists), then"
        " flags. No environment variable is a setting.",
    )
    top.add_argument("--version", action="version", version=f"tandem-controller {_version()}")
    top.add_argument("--config", type=Path, metavar="FILE", help="configuration file")
    add_flags(top, Settings)
    commands = top.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("run", help="run the controller (the default)")
    commands.add_parser("admission", help="serve the admission webhook")
    return top


def main(arguments: list[str] | None = None) -> int:
    """Entry point. Exit codes: 0 stopped as asked, 1 failed, 2 bad settings."""
    options = vars(parser().parse_args(arguments))
    program = _admission if options.pop("command") == "admission" else _run
    config = options.pop("config")
    try:
        settings = load(config, options)
    except SettingsError as error:
        print(f"tandem-controller: {error}", file=sys.stderr)
        return 2
    logging.basicConfig(
        level=settings.log_level, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    )
    for name in ignored_variables(Settings, os.environ):
        log.warning(
            "the environment variable %s is ignored: settings are flags, or in a file", name
        )
    # kopf tells of every event of every object.
    logging.getLogger("kopf").setLevel(max(logging.WARNING, logging.getLogger().level))
    try:
        with asyncio.Runner() as runner:
            runner.run(program(settings))
    except (NoAccess, OSError, ValueError) as error:
        print(f"tandem-controller: {error}", file=sys.stderr)
        return 2
    return 0


def _on_signals(act: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, act)


async def _run(settings: Settings) -> None:
    """Until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    _on_signals(stop.set)
    async with assembled(settings, _version()) as replica:
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
