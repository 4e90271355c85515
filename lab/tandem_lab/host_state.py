"""What is known of a lab's host from outside: whether it is up, and which boots it has had."""

from dataclasses import dataclass

from tandem_lab.settings import LabError


class HostDownError(LabError):
    """The host does not run."""


@dataclass(frozen=True)
class HostState:
    """What is known of a host from outside. `boot_s` is when it last booted (since 1970).

    `drbd`: the version that it said it runs; empty until it has.
    """

    name: str
    site: str
    up: bool
    paused: bool
    pid: int | None
    boot_s: float | None
    memory_bytes: int
    drbd: str = ""


@dataclass(frozen=True)
class Boot:
    """One boot, as the host itself noted it. `wall_s` is seconds since 1970."""

    wall_s: float
    boot_id: str
