"""Whether a host may be switched off, which are worth it, and what its agent's word proves."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tandem_api.kinds.tandem import Tandem
from tandem_api.lease import Delivery
from tandem_api.reasons import Reason
from tandem_api.timing import DEFAULT
from tandem_controller.decide.known import world_of
from tandem_controller.decide.walls import Walls
from tandem_controller.decide.world.clocks import Rate, Watch
from tandem_controller.decide.world.fence_agents import NotYet, Order, verdict
from tandem_controller.decide.world.leases import LeaseTracker
from tandem_controller.decide.world.model import Assign, Keep, Refusal

from .scenes import A, B, Scene, instance, owned_by, replica

AGENT = {"agent": "fence_ipmilan", "parameters": {"ip": "192.0.2.1"}}
LOST_S, LAST_S, CLOCK_S = 500.0, 499.0, 510.0
"""By B's clock: when it lost the link, when A's last packet came, and its last heartbeat."""


def scene(silent_s: float = 6.0) -> Scene:
    """A is silent, has an agent, and B has told of the link."""
    made = Scene().silent(A, silent_s).unlinked(B)
    made.hosts[A] = {"fenceAgent": AGENT}
    made.replicas[B].update(linkLostAtSeconds=LOST_S, lastPacketAtSeconds=LAST_S)
    return made


def tracker(
    made: Scene, clock_s: float | None = CLOCK_S, acknowledged: bool = True
) -> LeaseTracker:
    """As the scene has it, and B tells what its clock is, and A by what it lives."""
    leases = made.snapshot().leases
    counts = {
        host: replace(
            count,
            heartbeat=count.heartbeat.model_copy(
                update={
                    "clock_s": clock_s if host == B else None,
                    "link_acknowledged": acknowledged,
                }
            ),
        )
        for host, count in leases.counts.items()
    }
    return replace(leases, counts=counts)


def judged(made: Scene, leases: LeaseTracker | None = None) -> Order | NotYet | Refusal:
    snapshot = replace(made.snapshot(), leases=leases or tracker(made))
    world = world_of(snapshot, Walls())
    return verdict(world.hosts[A], snapshot.mirrors, world.hosts, 0.0)


def left_of(found: Order | NotYet | Refusal) -> float:
    assert isinstance(found, NotYet), found
    return found.left_s


UNKNOWN: dict[str, Callable[[Scene], Any]] = {
    "it has no agent": lambda s: s.hosts.update({A: {}}),
    "it is heard": lambda s: s.silent(A, 0.5),
    "it is in maintenance": lambda s: s.hosts[A].update(maintenance=True),
    "its site is in maintenance": lambda s: s.sites["burjassot"].update(maintenance=True),
    "it is paused": lambda s: s.hosts[A].update(paused=True),
    "its site is paused": lambda s: s.sites["burjassot"].update(paused=True),
    "its mirror is paused": lambda s: s.mirror.update(paused=True),
    "the controller has not watched": lambda s: setattr(s, "covered", False),
    "its timing is unknown": lambda s: setattr(s.beats[A], "timing", None),
    "its clock is too slow": lambda s: setattr(s.beats[A], "clock", Watch(rates=(Rate(0.5, 0.6),))),
    "its peer's clock is too fast": lambda s: setattr(
        s.beats[B], "clock", Watch(rates=(Rate(1.6, 1.7),))
    ),
    "its peer is silent, too": lambda s: s.silent(B, 6.0),
    "its peer does not report": lambda s: s.replicas.pop(B),
    "its peer's reports are not delivered": lambda s: setattr(
        s.beats[B], "delivery", Delivery(run="run", since="2024-05-01T09:00:00Z")
    ),
    "its peer's report is an earlier run's": lambda s: s.replicas[B].update(
        instance=instance(B, run="earlier")
    ),
    "its peer is connected": lambda s: s.replicas.update({B: replica(B, linkLostAtSeconds=LOST_S)}),
    "its peer does not know": lambda s: s.replicas[B].update(connection="Unknown"),
    "its peer is of an older version": lambda s: s.replicas.update(
        {B: replica(B, connected=False)}
    ),
    "its agent is about another machine": lambda s: s.hosts[A].update(
        status={
            "conditions": [
                {"type": "FenceAgentWorks", "status": "False", "reason": "FenceAgentElsewhere"}
            ]
        }
    ),
}


NOT: dict[str, Callable[[Scene], Any]] = {
    "time has proven it": lambda s: s.silent(A, 60.0),
    "it is heard": lambda s: s.silent(A, 0.5),
    "it has no agent": lambda s: s.hosts.update({A: {}}),
    "its guest is not to be taken over by itself": lambda s: s.guest.update(
        failover={"policy": "Manual"}
    ),
    "its guest is paused": lambda s: s.guest.update(paused=True),
    "the mirror is paused": lambda s: s.mirror.update(paused=True),
    "the other host is paused": lambda s: s.hosts[B].update(paused=True),
    "everything is paused": lambda s: setattr(
        s,
        "tandems",
        (Tandem.parse({"metadata": {"name": "tandem"}, "spec": {"paused": True}}),),
    ),
    "it wrote alone": lambda s: setattr(s, "authority", owned_by(A, mode="Standalone")),
    "the other host is in maintenance": lambda s: s.hosts[B].update(maintenance=True),
    "the link is up": lambda s: s.replicas.update({B: replica(B)}),
    "nobody is heard": lambda s: s.silent(B, 6.0),
}


class TestMayBeSwitchedOff:
    def test_once_neither_arm_can_be_true(self) -> None:
        found = judged(scene())
        assert isinstance(found, Order)
        assert (found.boot_id, found.lease_version) == ("boot", "77")

    def test_not_before_its_heartbeat_has_run_out_by_the_slowest_clock(self) -> None:
        """ρ·R and a margin: 4 s with Default."""
        assert left_of(judged(scene(3.5))) == pytest.approx(0.5)
        assert isinstance(judged(scene(4.01)), Order)

    def test_not_before_the_link_has_by_what_its_peer_counts(self) -> None:
        """ρ·(D + Q) and a margin since the last packet: 3.6875 s. The heartbeat is 0.5 s old."""
        made = scene()
        left = judged(made, tracker(made, LAST_S + 3.0))
        assert left_of(left) == pytest.approx(DEFAULT.link_acquits_s - 3.5)
        assert isinstance(judged(made, tracker(made, LAST_S + 3.2)), Order)

    def test_of_one_that_lives_by_its_looks_the_loss_counts(self) -> None:
        made = scene()
        assert isinstance(judged(made, tracker(made, LAST_S + 3.5, acknowledged=False)), NotYet)
        assert isinstance(judged(made, tracker(made, LOST_S + 3.5, acknowledged=False)), Order)

    @pytest.mark.parametrize("why", UNKNOWN)
    def test_not_while_anything_is_not_known_or_speaks_against_it(self, why: str) -> None:
        made = scene()
        UNKNOWN[why](made)
        assert isinstance(judged(made), Refusal)

    def test_not_where_its_peer_tells_no_clock(self) -> None:
        made = scene()
        assert isinstance(judged(made, tracker(made, None)), Refusal)

    def test_a_mirror_that_the_other_host_owns_says_nothing(self) -> None:
        made = scene()
        made.authority = owned_by(B)
        made.replicas[B] = replica(B, role="Primary")
        assert isinstance(judged(made), Order)

    def test_a_guest_that_is_on_its_way_there_may_live_there(self) -> None:
        made = scene()
        ends = {"id": "m", "source": B, "target": A}
        made.authority = owned_by(B, mode="Migrating", migration=ends)
        made.replicas[B] = replica(B, role="Primary")
        assert isinstance(judged(made), Refusal)


class TestIsWorthIt:
    def test_if_its_guest_waits_for_nothing_else(self) -> None:
        assert scene(4.0).plan().to_power_off == {A: ("ns/g",)}

    def test_also_without_a_watchdog_however_long_it_is_silent(self) -> None:
        made = scene(60.0)
        made.beats[A].armed = False
        assert made.plan().to_power_off == {A: ("ns/g",)}

    @pytest.mark.parametrize("why", NOT)
    def test_not_if(self, why: str) -> None:
        made = scene(4.0)
        NOT[why](made)
        assert made.plan().to_power_off == {}


def word(**changes: str) -> dict[str, Any]:
    said = {"bootID": "boot", "leaseVersion": "77", "agent": "fence_ipmilan", **changes}
    return {"poweredOff": said}


class TestItsWord:
    def test_is_proof_at_once(self) -> None:
        made = scene(4.0)
        made.hosts[A].update(status=word())
        decision = made.decide()
        assert isinstance(decision, Assign), decision
        assert (decision.host, decision.reason) == (B, Reason.POWERED_OFF)
        assert decision.proof is not None and decision.proof.lease_version == "77"
        assert made.plan().to_power_off == {}

    @pytest.mark.parametrize("about", [{"bootID": "earlier"}, {"leaseVersion": "76"}])
    def test_is_none_of_an_earlier_boot_or_before_its_last_heartbeat(
        self, about: dict[str, str]
    ) -> None:
        made = scene(4.0)
        made.hosts[A].update(status=word(**about))
        assert isinstance(made.decide(), Keep)

    def test_is_none_of_a_host_that_is_heard(self) -> None:
        made = scene(0.5)
        made.hosts[A].update(status=word())
        assert isinstance(made.decide(), Keep)

    def test_goes_once_the_host_is_heard(self) -> None:
        made = scene(0.5)
        made.hosts[A].update(status=word())
        patches = [w.patch for w in made.plan().statuses if w.kind == "Host"]
        assert any("poweredOff" in patch and patch["poweredOff"] is None for patch in patches)

    def test_does_not_take_the_place_of_what_time_has_proven(self) -> None:
        """The claim is under way: another serial would only begin it anew."""
        made = scene(60.0)
        first = made.decide()
        assert isinstance(first, Assign) and first.reason is Reason.LEASE_LOST
        assert first.proof is not None
        made.assignment = {
            "host": B,
            "serial": 4,
            "reason": "LeaseLost",
            "proof": first.proof.wire(),
        }
        made.hosts[A].update(status=word())
        assert isinstance(made.decide(), Keep)
