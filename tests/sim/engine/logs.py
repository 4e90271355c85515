"""What the programs log, as lines of the scenario's log. Called by ``player`` and ``trial``.

A record belongs to the program whose loop is running; what is logged elsewhere is not ours.
"""

import logging
from asyncio import events
from collections.abc import Iterator
from contextlib import contextmanager

from sim.engine.events import Log
from sim.engine.loop import Loop

PROGRAMS = ("tandem_actuator", "tandem_controller", "tandem_kube")


class _Into(logging.Handler):
    def __init__(self, log: Log) -> None:
        super().__init__(logging.INFO)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        loop = events._get_running_loop()
        if isinstance(loop, Loop):
            self._log.say(loop.label, record.getMessage())


@contextmanager
def logged_into(log: Log) -> Iterator[None]:
    """While something is played."""
    handler = _Into(log)
    loggers = [logging.getLogger(name) for name in PROGRAMS]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
    try:
        yield
    finally:
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate
