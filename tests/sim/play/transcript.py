"""A scenario's transcript: who decided what, when and why, for somebody who has never seen it.

Of the log only what somebody decided or what happened to them; how often a connection was tried is
left out. Called by ``tests/scenarios/test_transcripts.py``, which compares the committed ones.
"""

import re

from sim.play.player import play
from tandem_scenario.scenario import Scenario

UNTOLD = re.compile(
    r"watch of \w+ interrupted|no events from libvirt|versions unknown|note-epoch|noting epoch"
    r"|watchdog armed|heartbeat not confirmed|actuator starts|reports not delivered"
)
"""What happens all the time, and decides nothing."""
INDENT = " " * 25
WIDTH = 100


def transcript(scenario: Scenario) -> str:
    """Played with its own seed: one seed is one transcript."""
    told = [
        line for line in play(scenario, scenario.world.seed).lines if not UNTOLD.search(line.what)
    ]
    lines = [f"{line.at_s:7.1f}  {line.where:<14} {line.what}" for line in told]
    return "\n".join([f"# {scenario.title}", *(_wrapped(line) for line in lines), ""])


def _wrapped(line: str) -> str:
    """Long sentences go on below, indented."""
    rows, rest = [], line
    while len(rest) > WIDTH and " " in rest[len(INDENT) + 1 : WIDTH]:
        cut = rest.rindex(" ", len(INDENT) + 1, WIDTH + 1)
        rows.append(rest[:cut])
        rest = INDENT + rest[cut + 1 :]
    return "\n".join([*rows, rest])
