"""``python -m tandem_bugs --kubeconfig FILE --metrics-port N PART:KIND/NAME …``: a controller that
fails on these objects, in these parts of it (``sim.programs.bugs.PLACES``), and is the product's
otherwise.

What is behind ``KIND/`` is the object's key, ``namespace/name`` or ``name``. The plan is made of a
snapshot in which the objects are replaced by ones that raise when the part looks at them. Started
by ``tests/lab/test_tandem_walls.py`` in place of ``tandem_controller``.
"""

import argparse
import asyncio
import logging
import signal
from pathlib import Path

from sim.programs.bugs import CONTROLLER, Bug, Bugs
from tandem_api.meta import ObjectKey
from tandem_controller.assembly import assembled
from tandem_controller.decide.plan import plan
from tandem_controller.decide.world.model import Plan, Snapshot
from tandem_controller.run.planning import ThreadPlanner
from tandem_controller.settings import Settings


def bug(text: str) -> Bug:
    """Of one argument."""
    place, _, what = text.partition(":")
    kind, _, key = what.partition("/")
    namespace, _, name = key.rpartition("/")
    return Bug(place, kind, ObjectKey(namespace=namespace, name=name))


async def run(settings: Settings, bugs: Bugs) -> None:
    """Until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)

    def make(snapshot: Snapshot) -> Plan:
        return plan(bugs.snapshot(snapshot))

    async with assembled(settings, "with bugs", planner=ThreadPlanner(make)) as replica:
        await replica.run(stop)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--metrics-port", type=int, required=True)
    parser.add_argument("bugs", nargs="+", type=bug)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    logging.getLogger("kopf").setLevel(logging.WARNING)
    settings = Settings(kubeconfig=options.kubeconfig, metrics_port=options.metrics_port)
    asyncio.run(run(settings, Bugs({CONTROLLER: options.bugs})))


if __name__ == "__main__":
    main()
