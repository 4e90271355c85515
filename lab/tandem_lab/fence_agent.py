"""A fence agent for the lab's hosts: it does to one what ``tandem-lab kill`` does, and tells.

It speaks as the fence-agents project's programs do. The controller begins it as it would those, so
this is what the lab tries of the whole way. ``install`` puts it where the controller looks.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tandem_lab.processes import Daemon, kill_session

NAME = "fence_lab"
PROGRAM = """#!{python}
from tandem_lab.fence_agent import main

main()
"""


def install(directory: Path) -> Path:
    """The directory with the agent, for this Python."""
    directory.mkdir(parents=True, exist_ok=True)
    program = directory / NAME
    program.write_text(PROGRAM.format(python=sys.executable))
    program.chmod(0o755)
    return directory


def main() -> None:
    """``plug``: the file that says which process the host is."""
    lines = (line.strip() for line in sys.stdin)
    given = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    plug = Path(given["plug"])
    daemon = Daemon.load(plug)
    match given.get("action"):
        case "off":
            if daemon is not None:
                kill_session(daemon)
                plug.unlink(missing_ok=True)
            print("Success: Powered OFF")
        case "status":
            on = daemon is not None and daemon.process() is not None
            print(f"Status: {'ON' if on else 'OFF'}")
            sys.exit(0 if on else 2)
        case other:
            print(f"there is no action {other}", file=sys.stderr)
            sys.exit(1)
