"""What there is at the beginning of a scenario: hosts and guests, as values.

Called by ``scenario``, and by whoever makes such a world: the simulator, the lab.
"""

from dataclasses import dataclass

LINKS = ("management", "replication")


@dataclass(frozen=True)
class GuestPlan:
    """A guest and its mirror, as a scenario states them.

    ``hosts``: those of the two replicas; empty where there are no others.
    """

    name: str
    prefers: str | None = None
    failover: str = "Automatic"
    failback: str = "Manual"
    failback_after_s: int = 600
    running: bool = True
    volumes: tuple[str, ...] = ("root",)
    holdoff_s: int = 2
    resync_s: float = 3.0
    priority: int = 100
    protocol: str = "C"
    hosts: tuple[str, ...] = ()
    memory: str = "64Mi"


@dataclass(frozen=True)
class HostPlan:
    """A host. ``clock_rate``: how much faster than true time its clock runs. ``memory``: what its
    guests may have together, no matter how much if empty. ``fence_agent``: it has one.
    """

    name: str
    site: str
    watchdog: str = "Required"
    clock_rate: float = 1.0
    memory: str = ""
    fence_agent: bool = False


@dataclass(frozen=True)
class WorldPlan:
    """Everything there is at the beginning. ``drbd``: the major version that the hosts run.
    ``migration``: they can send each other guests as these run.
    """

    hosts: tuple[HostPlan, ...] = (
        HostPlan("burjassot-1", "burjassot"),
        HostPlan("tarongers-1", "tarongers"),
    )
    guests: tuple[GuestPlan, ...] = (GuestPlan("counter", prefers="burjassot"),)
    profile: str = "Default"
    seed: int = 1
    reset_boots_again: bool = True
    drbd: int = 8
    migration: bool = False

    @property
    def sites(self) -> tuple[str, ...]:
        return tuple(sorted({host.site for host in self.hosts}))

    def replicas_of(self, guest: GuestPlan) -> tuple[str, ...]:
        """The two hosts that hold its mirror."""
        return guest.hosts or tuple(host.name for host in self.hosts)

    def site_of(self, host: str) -> str:
        return next(each.site for each in self.hosts if each.name == host)
