"""Keeps this process in memory: a machine that swaps must not hold up a heartbeat or a feed.

Called by the actuator and by the watchdog's keeper, first of all. Not inherited by what they start.
"""

import ctypes
import logging
import os

log = logging.getLogger(__name__)

# linux/mman.h. ONFAULT: what was never touched, as most of a thread's stack, takes no memory.
MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT = 1, 2, 4


def lock_memory() -> None:
    """From now on nothing that is touched is swapped out. Where that is not allowed it is told."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0:
        log.warning(
            "memory is not locked and may be swapped out: %s", os.strerror(ctypes.get_errno())
        )
