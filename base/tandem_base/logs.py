"""What both programs write to stderr: lines for people, or one JSON object a line for machines.

A line of text is what journald and ``kubectl logs`` show as they are. In JSON a message of several
lines, such as a traceback, is still one line; and so is what Python itself would print there: a
warning, or an exception that nobody caught. Called by ``command_line``, and by the watchdog's
keeper, which is a small process of its own: so this imports the standard library alone.
"""

import json
import logging
import sys
import threading
from datetime import UTC, datetime
from enum import StrEnum
from types import TracebackType

log = logging.getLogger(__name__)

TEXT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class Level(StrEnum):
    """What is logged: this and what is graver."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


class Format(StrEnum):
    """What a line looks like."""

    TEXT = "text"
    JSON = "json"


class JsonLines(logging.Formatter):
    """``{"time": …, "level": …, "logger": …, "message": …}``, and ``exception`` if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        said = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            said["stack"] = self.formatStack(record.stack_info)
        return json.dumps(said, ensure_ascii=False)


def begin(level: Level, form: Format) -> None:
    """From now on. Called once, before anything else logs."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if form is Format.JSON else logging.Formatter(TEXT))
    logging.basicConfig(level=level.value, handlers=[handler])
    if form is Format.JSON:
        logging.captureWarnings(True)
        sys.excepthook = _uncaught
        threading.excepthook = _uncaught_in_thread


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    log.critical("uncaught: %s", kind.__name__, exc_info=(kind, error, trace))


def _uncaught_in_thread(met: threading.ExceptHookArgs) -> None:
    if met.exc_value is not None:
        _uncaught(met.exc_type, met.exc_value, met.exc_traceback)
