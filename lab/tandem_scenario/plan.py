"""What there is at the beginning of a scenario: hosts and guests, as values.

Called by ``scenario``, and by whoever makes such a world: the simulator, the lab.
"""

from dataclasses import dataclass
from typing import Any

from tandem_api.timing import PROFILES, Profile, Timing

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
    ``migration``: they can send each other guests as these run. ``policies``: the API server's are
    in force. ``detection_s``: where given, the timing is the profile's with this time for DRBD to
    notice a dead link, and a lease as long as that needs.
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
    policies: bool = True
    detection_s: float | None = None

    @property
    def timing(self) -> Timing:
        """Of both sites."""
        timing = PROFILES[Profile(self.profile)]
        if self.detection_s is None:
            return timing
        slower: Timing = timing.model_copy(update={"link_detection_seconds": self.detection_s})
        return slower.model_copy(update={"lease_duration_seconds": slower.lost_after_s})

    @property
    def site_spec(self) -> dict[str, Any]:
        if self.detection_s is None:
            return {"profile": self.profile}
        return {"profile": "Custom", "heartbeat": self.timing.wire()}

    @property
    def sites(self) -> tuple[str, ...]:
        return tuple(sorted({host.site for host in self.hosts}))

    def replicas_of(self, guest: GuestPlan) -> tuple[str, ...]:
        """The two hosts that hold its mirror."""
        return guest.hosts or tuple(host.name for host in self.hosts)

    def site_of(self, host: str) -> str:
        return next(each.site for each in self.hosts if each.name == host)
