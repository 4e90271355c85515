"""Which copy is the better one, and what people are told about both."""

import pytest

from tandem_api.reasons import Reason
from tandem_controller.decide.mirrors import copies
from tandem_controller.decide.mirrors.override import Grant
from tandem_controller.decide.world.model import Blocked, Keep, Refusal

from .scenes import A, B, Scene, assigned, instance, only, owned_by, replica, report
from .test_override import dead_disk, decide, living_owner, ordered


class TestAdvice:
    """What a person reads out of the message is never the worse copy."""

    def message(self, *, owner_is_back: bool, dead: tuple[str, ...]) -> str:
        scene = ordered()
        del scene.mirror["override"]
        if owner_is_back:
            scene.beats[A].silent_s, scene.beats[A].boot = 0.5, "newer"
            scene.replicas[A] = replica(A, connected=False, marker={"reason": "LocalDiskFailed"})
            scene.replicas[A]["instance"] = instance(A, boot="newer")
        for host in dead:
            dead_disk(scene, host)
        decision = scene.decide()
        assert isinstance(decision, Blocked)
        return decision.message

    def test_the_owner_is_lost(self) -> None:
        assert f"spec.override: {{host: {B}," in self.message(owner_is_back=False, dead=())

    def test_the_owner_is_back_and_the_other_disk_is_dead(self) -> None:
        message = self.message(owner_is_back=True, dead=(B,))
        assert f"spec.override: {{host: {A}," in message
        assert f"host: {B}" not in message

    @pytest.mark.parametrize(
        ("owner_is_back", "dead", "says"),
        [
            (True, (A, B), f"Bring {A} back"),
            (False, (B,), f"Bring {A} back"),
        ],
    )
    def test_nothing_is_to_be_given_up(
        self, owner_is_back: bool, dead: tuple[str, ...], says: str
    ) -> None:
        message = self.message(owner_is_back=owner_is_back, dead=dead)
        assert says in message
        assert "spec.override" not in message

    @pytest.mark.parametrize(
        ("marker", "lacks"), [("AttachedNotUpToDate", False), ("LocalDiskFailed", True)]
    )
    def test_both_are_there_and_the_owners_is_in_doubt_of_itself(
        self, marker: str, lacks: bool
    ) -> None:
        """Of one that wrote alone until its disk failed nobody knows what it lacks since then."""
        scene = ordered()
        scene.mirror.pop("override")
        scene.beats[A].silent_s, scene.beats[A].boot = 0.5, "newer"
        scene.replicas[A] = replica(A, connected=False, marker={"reason": marker})
        scene.replicas[A]["instance"] = instance(A, boot="newer")
        decision = scene.decide()
        assert isinstance(decision, Blocked)
        assert "Bring the replication link back" in decision.message
        told = [host for host in (A, B) if f"spec.override: {{host: {host}," in decision.message]
        assert told == [A]
        assert (f"{A} what was written to {B} while its disk was lost" in decision.message) is lacks

    def test_both_are_connected_and_marked_and_differ(self) -> None:
        """There is no link to bring back: neither would ever find out by itself."""
        scene = ordered()
        scene.mirror.pop("override")
        scene.beats[A].silent_s, scene.beats[A].boot = 0.5, "newer"
        for host, marker in ((A, "AttachedNotUpToDate"), (B, "DifferenceFound")):
            scene.replicas[host] = replica(host, marker={"reason": marker})
            for volume in scene.replicas[host]["volumes"].values():
                volume["outOfSyncBytes"] = 4096
        scene.replicas[A]["instance"] = instance(A, boot="newer")
        decision = scene.decide()
        assert isinstance(decision, Blocked)
        assert "They are connected, and 4096 bytes differ" in decision.message
        assert "link" not in decision.message
        assert f"spec.override: {{host: {A}," in decision.message

    def test_the_other_copy_may_be_chosen_where_the_owners_disk_had_failed(self) -> None:
        """All that was written since then may be there alone."""
        scene = living_owner()
        scene.replicas[A] = replica(A, connected=False)
        order = scene.parsed_mirror().spec.override
        assert order is not None
        assert copies.worse(scene.parsed_mirror(), order, scene.world()) is not None
        scene.replicas[A]["marker"] = {"reason": "LocalDiskFailed"}
        assert copies.worse(scene.parsed_mirror(), order, scene.world()) is None

    @pytest.mark.parametrize(
        ("markers", "proposed"),
        [
            (("AttachedNotUpToDate", "AttachedNotUpToDate"), [A]),
            (("LocalDiskFailed", "AttachedNotUpToDate"), [B]),
            (("AttachedNotUpToDate", "LocalDiskFailed"), [A]),
            (("LocalDiskFailed", "LocalDiskFailed"), [A, B]),
            (("LocalDiskFailed", "TakenOver"), [A, B]),
        ],
    )
    def test_where_neither_is_known_to_be_better(
        self, markers: tuple[str, str], proposed: list[str]
    ) -> None:
        """Both have rebooted without the link, and were Mirrored."""
        scene = Scene()
        for host, marker in zip((A, B), markers, strict=True):
            scene.beats[host].boot = "newer"
            scene.replicas[host] = replica(host, connected=False, marker={"reason": marker})
            scene.replicas[host]["instance"] = instance(host, boot="newer")
        decision = scene.decide()
        assert isinstance(decision, Blocked)
        assert "Bring the replication link back" in decision.message
        told = [host for host in (A, B) if f"spec.override: {{host: {host}," in decision.message]
        assert told == proposed
        if len(proposed) > 1:
            assert f"({A}: {markers[0]}, {B}: {markers[1]})" in decision.message

    @pytest.mark.parametrize(
        ("a_failed", "b_failed", "proposed"),
        [
            ("10:00:07", "10:00:09", [B]),
            ("10:00:09", "10:00:07", [A]),
            ("10:00:07", "10:00:07", [A, B]),
        ],
    )
    def test_both_disks_have_failed_one_after_the_other(
        self, a_failed: str, b_failed: str, proposed: list[str]
    ) -> None:
        scene = Scene()
        for host, at in ((A, a_failed), (B, b_failed)):
            marker = {"reason": "LocalDiskFailed", "since": f"2024-05-01T{at}Z"}
            scene.beats[host].boot = "newer"
            scene.replicas[host] = replica(host, connected=False, marker=marker)
            scene.replicas[host]["instance"] = instance(host, boot="newer")
        decision = scene.decide()
        assert isinstance(decision, Blocked)
        told = [host for host in (A, B) if f"spec.override: {{host: {host}," in decision.message]
        assert told == proposed
        assert (f"{A}'s did so at 2024-05-01T{a_failed}" in decision.message) is (proposed == [B])
        scene.authority = owned_by(A, mode="Standalone", eligible=only(A))
        decision = scene.decide()
        assert isinstance(decision, Blocked)
        told = [host for host in (A, B) if f"spec.override: {{host: {host}," in decision.message]
        assert told == [A], "only the owner may have more"
        also = f"{A} what was written to {B} until that failed, too"
        assert (also in decision.message) is (proposed != [A])

    @pytest.mark.parametrize(
        ("marker", "proposed"),
        [("AttachedNotUpToDate", [A]), ("LocalDiskFailed", [A]), ("TakenOver", [A]), ("", [A])],
    )
    def test_the_better_one_had_lost_its_disk_and_the_other_is_behind(
        self, marker: str, proposed: list[str]
    ) -> None:
        scene = Scene()
        scene.authority = owned_by(A, mode="Standalone", eligible=only(A))
        for host, why in ((A, "LocalDiskFailed"), (B, marker)):
            scene.beats[host].boot = "newer"
            since = "2024-05-01T10:00:09Z" if host == A else "2024-05-01T10:00:07Z"
            marked = {"reason": why, "since": since} if why else None
            scene.replicas[host] = replica(host, connected=False, marker=marked)
            scene.replicas[host]["instance"] = instance(host, boot="newer")
        decision = scene.decide()
        assert isinstance(decision, Blocked)
        told = [host for host in (A, B) if f"spec.override: {{host: {host}," in decision.message]
        assert told == proposed
        assert (f"{B} lacks what {A} wrote alone" in decision.message) is (
            marker != "LocalDiskFailed"
        )
        assert ("whose disk failed last" in decision.message) is (marker == "LocalDiskFailed")

    def test_nobody_owns_it_and_both_are_in_doubt(self) -> None:
        scene = Scene().unowned()
        for host in (A, B):
            scene.replicas[host] = replica(
                host, connected=False, marker={"reason": "AttachedNotUpToDate"}
            )
        decision = scene.decide()
        assert isinstance(decision, Blocked)
        assert "Bring the replication link back" in decision.message
        assert f"spec.override: {{host: {A}," in decision.message

    def test_nobody_owns_it_and_who_may_is_lost(self) -> None:
        scene = Scene().unowned().silent(A)
        scene.authority = {**(scene.authority or {}), "eligible": only(A, "Overridden")}
        scene.replicas[B] = replica(B, connected=False)
        decision = scene.decide()
        assert isinstance(decision, Blocked)
        assert f"To go on with what {B} has" in decision.message
        assert f"spec.override: {{host: {B}," in decision.message
        scene.beats[A].silent_s = 0.5
        scene.sites["burjassot"] = {"maintenance": True}
        decision = scene.decide()
        assert isinstance(decision, Blocked)
        assert "spec.override" not in decision.message, "the better copy is there"

    def test_what_it_says_works(self) -> None:
        """The order to go on with the rebooted owner's copy is carried out."""
        scene = dead_disk(ordered(host=A), B)
        scene.beats[A].silent_s, scene.beats[A].boot = 0.5, "newer"
        scene.replicas[A] = replica(A, connected=False, marker={"reason": "LocalDiskFailed"})
        scene.replicas[A]["instance"] = instance(A, boot="newer")
        got = decide(scene)
        assert isinstance(got, Grant)
        assert got.authority.may_own(A)


def coming_owner(**said: object) -> Scene:
    """An owner that wrote alone is heard, and has not said what became of its copy."""
    scene = living_owner()
    scene.replicas[A] = {**replica(A, connected=False), **said}
    return scene


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"instance": instance(A, boot="older")}, Reason.OVERRIDE_WAITING),
        ({"connection": "NotConfigured", "reason": "UnknownState"}, Reason.OVERRIDE_WAITING),
        ({"connection": "NotConfigured", "reason": "BringingUp"}, Reason.OVERRIDE_WAITING),
    ],
)
def test_a_copy_that_is_still_coming_is_waited_for(said: dict[str, object], reason: Reason) -> None:
    got = decide(coming_owner(**said))
    assert isinstance(got, Refusal)
    assert got.reason is reason
    assert f"Wait until {A} has brought its replica up; if that does not come, power" in got.message


@pytest.mark.parametrize("why", ["EffectFailed", "MetadataMissing"])
def test_one_that_was_brought_up_in_vain_is_not(why: str) -> None:
    scene = coming_owner(connection="NotConfigured", reason=why)
    assert not copies.coming(scene.parsed_mirror(), A, scene.world())
    told = copies.advice(scene.parsed_mirror(), B, scene.world())
    assert f"spec.override: {{host: {B}, epoch: 7, acceptDataLoss: true" in told


def test_nobody_is_told_to_give_up_what_is_still_coming() -> None:
    scene = coming_owner(connection="NotConfigured", reason="UnknownState")
    told = copies.advice(scene.parsed_mirror(), B, scene.world())
    assert "spec.override" not in told
    assert told.startswith(f"Wait until {A} has brought its replica up")


def test_a_marked_copy_is_not_chosen_beside_one_that_is_there_and_unmarked() -> None:
    scene = ordered()
    scene.authority = owned_by("")
    scene.beats[A].silent_s = 0.5
    scene.replicas[A] = replica(A, connected=False)
    assert not isinstance(decide(scene), Refusal)
    scene.replicas[B]["marker"] = {"reason": "AttachedNotUpToDate"}
    got = decide(scene)
    assert isinstance(got, Refusal)
    assert got.reason is Reason.OVERRIDE_REFUSED
    scene.replicas[A]["marker"] = {"reason": "AttachedNotUpToDate"}
    assert not isinstance(decide(scene), Refusal)


def test_what_keeps_a_copy_from_connecting_is_named() -> None:
    """That the link is to be brought back would be no use."""
    scene = coming_owner(connection="StandAlone", reason="EffectFailed", message="read-only files")
    scene.replicas[B] = replica(B, connected=False)
    assert copies.advice(scene.parsed_mirror(), B, scene.world()) == (
        f"{A} does not connect: read-only files. Mend that, or power {A} off to go on with what"
        f" {B} has, which may lack what was written last"
    )


class TestInSync:
    """Both replicas are, and the owner, which has rebooted, cannot note it."""

    def scene(self, *failing: str, marker: str = "LocalDiskFailed") -> Scene:
        scene = Scene()
        scene.authority = owned_by(A, mode="Standalone", eligible=only(A))
        scene.beats[A].boot = "newer"
        scene.replicas = {
            A: {**replica(A), "instance": instance(A, boot="newer"), "marker": {"reason": marker}},
            B: replica(B),
        }
        for host in failing:
            failed = {"reason": "EffectFailed", "message": "the durable record: read-only"}
            scene.replicas[host] |= failed
        return scene

    def told(self, scene: Scene) -> str:
        decision = scene.decide()
        assert isinstance(decision, Blocked)
        assert "Bring the replication link back" not in decision.message
        return decision.message

    def test_the_other_one_can_be_gone_on_with(self) -> None:
        message = self.told(self.scene(A))
        assert f"which {A} cannot note: the durable record: read-only" in message
        assert f"spec.override: {{host: {B}, epoch: 7" in message

    @pytest.mark.parametrize("marker", ["LocalDiskFailed", "AttachedNotUpToDate"])
    def test_and_nothing_stands_against_that_order(self, marker: str) -> None:
        scene = self.scene(A, marker=marker)
        order = {"host": B, "epoch": 7, "acceptDataLoss": True, "by": "maria"}
        scene.mirror["override"] = order
        assert isinstance(decide(scene), Grant)
        scene.replicas[B]["volumes"]["root"]["outOfSyncBytes"] = 4096
        assert isinstance(decide(scene), Refusal) is (marker == "AttachedNotUpToDate")

    def test_unless_it_cannot_note_anything_either(self) -> None:
        message = self.told(self.scene(A, B))
        assert "Mend that" in message
        assert "spec.override" not in message

    def test_what_is_only_a_moment_away_is_waited_for(self) -> None:
        assert f"Wait until {A} has noted" in self.told(self.scene())

    def test_nor_does_it_lack_anything_where_the_owner_cannot_start_it(self) -> None:
        scene = self.scene()
        told = copies.beside(scene.parsed_mirror(), A, scene.world())
        assert told == f". Mend that, or power {A} off to go on with what {B} has"


def test_an_order_that_waits_is_told_of_by_the_guest_too() -> None:
    """Its host has stopped it for that."""
    scene = coming_owner(connection="NotConfigured", reason="UnknownState")
    scene.assignment = {**assigned(B, "LocalDiskFailed"), "serial": 2}
    scene.reports = {A: report(A, "Running", serial=1)}
    assert isinstance(scene.decide(), Keep)
    scene.reports = {A: report(A, "Absent", serial=2)}
    decision = scene.decide()
    assert isinstance(decision, Blocked)
    assert decision.reason is Reason.OVERRIDE_WAITING
    assert f"Wait until {A} has brought its replica up" in decision.message
