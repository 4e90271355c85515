"""When a run of the actuator does only what keeps its guests safe, and for how long. Pure.

A run is *reduced* to heartbeat, guard and answers to DRBD once a bug was met outside of them and of
every wall, so that it does not end in a reset of a healthy host. So is one that begins after three
quick exits in a row, whatever ended them. After a while it makes room for a run that tries
everything again. Called by ``loop``.
"""

QUICK_S = 30.0
"""A run that ends or fails within this time has made a quick exit."""
QUICK_EXITS = 3
"""So many of them in a row, and the next run is reduced from its start."""
PAUSES_S = (10.0, 60.0, 300.0)
"""How long a run stays reduced: after the first quick exit in a row, the second, all others."""
AGAIN_EXIT = 75
"""How the program ends then: EX_TEMPFAIL of sysexits.h."""


def is_reduced(quick_exits: int) -> bool:
    """``quick_exits``: those right before this run."""
    return quick_exits >= QUICK_EXITS


def pause_s(quick_exits: int) -> float:
    """How long this run stays reduced."""
    return PAUSES_S[min(quick_exits, len(PAUSES_S) - 1)]


def before_another_try(quick_exits: int) -> int:
    """What the next run is to know: that this one failed. But it tries everything."""
    return min(quick_exits + 1, QUICK_EXITS - 1)


def words(host: str, why: str, quick_exits: int) -> str:
    """For people. ``why``: ``KeyError at cluster.py:83``, or empty after quick exits."""
    what = why or f"it ended {QUICK_EXITS} times shortly after it had started"
    return (
        f"tandem-actuator failed on {host} ({what}): guests that run there are guarded, and nothing"
        " else is done. This is a bug in Tandem: its log there has the traceback. It tries"
        f" everything again after {pause_s(quick_exits):g} s, and at once if it is restarted"
    )
