"""Who started this run of the actuator, and starts it again should it end or hang."""

from typing import Protocol


class Supervisor(Protocol):
    """The host's service manager. What it cannot be told now, it is told the next time."""

    def ready(self) -> None:
        """This run does what it is there for. May be said again and again."""
        ...

    def alive(self) -> None:
        """A turn of what must never stand still. Whoever does not say it for long is killed."""
        ...


class Unsupervised:
    """The Supervisor where there is none, or one that asks for nothing."""

    def ready(self) -> None:
        """Nobody waits for it."""

    def alive(self) -> None:
        """Nobody counts."""
