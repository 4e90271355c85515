"""What the actuator needs from the outside, as Protocols: a module for each part of the outside.

Every port has a real adapter in ``adapters/`` and a fake beside it in ``adapters/fakes.py``; both
pass the same contract tests. Every method has a timeout of its own and raises only what is named
here and in its module. Paths and resource names are validated by the API types before they get
here.
"""

from typing import Protocol


class PortError(Exception):
    """Base of every failure that an adapter reports."""


class CommandFailed(PortError):
    """A command was refused or failed; the message is for people. The state is to be re-read."""


class CommandTimeout(PortError):
    """No answer in time. Whether it took effect is unknown."""


class Clock(Protocol):
    """Time that goes on while the machine is suspended."""

    def boottime_s(self) -> float: ...

    def wall(self) -> str:
        """RFC 3339 with microseconds, for people only."""
        ...
