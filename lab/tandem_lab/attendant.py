"""The one process of the lab that is always there while the lab is up.

It stamps guests' output (recorder) and keeps hosts from sleeping through frames (nudge), and
decides nothing. Started and ended by Lab.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tandem_lab.nudge import Nudger
from tandem_lab.recorder import Recorder

# Also the precision of guests' time stamps, and the longest that a frame may be slept through.
PERIOD_S = 0.003


def attend(state_dir: Path, namespace: str) -> None:
    """Do both until killed."""
    recorder, nudger = Recorder(state_dir), Nudger(namespace)
    while True:
        nudger.nudge()
        recorder.poll()
        time.sleep(PERIOD_S)


if __name__ == "__main__":
    attend(Path(sys.argv[1]), sys.argv[2])
