"""What the watches tell, and what the units and the host's facts become of it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from tandem_actuator.ports.api import Changed, Removed, Synced, Unheard
from tandem_actuator.run.cluster import Cluster
from tandem_actuator.run.node import NodeFacts
from tandem_actuator.run.workload import Unit
from tandem_api.kinds.guest import Guest
from tandem_api.kinds.host import Host
from tandem_api.kinds.mirror import Mirror
from tandem_api.kinds.site import Site
from tandem_api.timing import DEFAULT, FAST, PROFILES, Profile
from tandem_api.vocabulary import DomainState
from unit.builders import HERE, A, B, assignment, authority, guest, mirror, record

ELSEWHERE = mirror(authority(B)).model_copy(
    update={
        "metadata": mirror(None).metadata.model_copy(update={"name": "elsewhere"}),
        "spec": mirror(None).spec.model_copy(update={"replicas": ()}),
    }
)
NUMBERED = {"resource_version": "101"}


class Parts:
    """Records and copies in memory; ``begun``: the units that were begun."""

    def __init__(self, *copies: tuple[Mirror, Guest | None]) -> None:
        self.copies, self.begun = copies, list[Unit]()
        self.kept: list[tuple[str, str | None]] = []
        self.node = NodeFacts(A, HERE, DEFAULT)
        whole = cast(Any, self)
        self.cluster = Cluster(whole, _Records(), whole, self.node, self.begun.append)

    def load(self) -> tuple[tuple[Mirror, Guest | None], ...]:
        return self.copies

    def store(self, mirror: Mirror, guest: Guest | None) -> None:
        self.kept.append((mirror.metadata.name, guest.metadata.name if guest else None))

    @property
    def unit(self) -> Unit:
        (found,) = self.cluster.units.values()
        return found


class _Records:
    def load(self, name: str) -> Any:
        return record() if name == mirror(None).drbd_name else None

    def store(self, name: str, record: Any) -> None:
        raise AssertionError("nothing is noted by looking")


def site(name: str, profile: Profile) -> Site:
    return Site.parse({"metadata": {"name": name}, "spec": {"profile": profile}})


def host(name: str, of: str, watchdog: str = "Required") -> Host:
    spec = {
        "site": of,
        "replicationAddress": f"198.51.100.{11 + (name == B)}",
        "watchdog": watchdog,
    }
    return Host.parse({"metadata": {"name": name}, "spec": spec})


@pytest.fixture
def parts() -> Parts:
    return Parts()


class TestMirrors:
    def test_one_with_a_replica_here_is_begun_once_with_what_this_host_noted(
        self, parts: Parts
    ) -> None:
        parts.cluster.take(Mirror, Synced((mirror(authority()), ELSEWHERE)))
        parts.cluster.take(Mirror, Changed(mirror(authority())))
        assert parts.begun == [parts.unit]
        assert parts.unit.record == record()

    def test_an_older_copy_is_ignored_but_a_list_is_taken_as_it_is(self, parts: Parts) -> None:
        """A watch may lag; an API that was restored must be seen."""
        older, newer = mirror(authority()), mirror(authority(epoch=6))
        newer = newer.model_copy(update={"metadata": newer.metadata.model_copy(update=NUMBERED)})
        parts.cluster.take(Mirror, Synced((newer,)))
        parts.cluster.take(Mirror, Changed(older))
        assert parts.unit.mirror == newer
        parts.cluster.take(Mirror, Synced((older,)))
        assert parts.unit.mirror == older

    def test_one_that_disappears_is_no_order(self, parts: Parts) -> None:
        parts.cluster.take(Mirror, Synced((mirror(authority()),)))
        parts.cluster.take(Mirror, Removed(mirror(None).key))
        assert parts.cluster.mirrors == {}
        assert parts.unit.mirror == mirror(authority())

    def test_what_a_list_has_not_is_gone(self, parts: Parts) -> None:
        parts.cluster.take(Guest, Synced((guest(assignment(A)),)))
        parts.cluster.take(Guest, Synced(()))
        assert parts.cluster.guests == {}


class TestGuests:
    def test_none_is_matched_before_all_were_listed(self) -> None:
        """Until then the units hold what the last run knew: an API that is away takes none away."""
        parts = Parts((mirror(authority()), guest(assignment(A))))
        parts.cluster.recall()
        parts.unit.observe_domain(DomainState.ABSENT)
        parts.cluster.take(Mirror, Synced((mirror(authority()),)))
        assert parts.unit.guest == guest(assignment(A))
        parts.cluster.take(Guest, Synced(()))
        assert parts.unit.guest is None

    def test_what_the_last_run_knew_is_begun_with(self) -> None:
        parts = Parts((mirror(authority()), guest(assignment(A))), (ELSEWHERE, None))
        parts.cluster.recall()
        assert parts.begun == [parts.unit]
        assert parts.unit.guest == guest(assignment(A))

    def test_what_is_kept_for_the_next_run_is_what_was_matched(self, parts: Parts) -> None:
        parts.cluster.take(Mirror, Synced((mirror(authority()),)))
        parts.unit.observe_domain(DomainState.ABSENT)
        parts.kept.clear()
        parts.cluster.take(Guest, Synced((guest(assignment(A)),)))
        assert parts.kept == [("m", "g")]


class TestTheHostsFacts:
    def all_told(self, parts: Parts, watchdog: str = "Required") -> None:
        cluster = parts.cluster
        cluster.take(Mirror, Synced((mirror(authority()),)))
        cluster.take(Host, Synced((host(A, "a", watchdog), host(B, "b"))))
        cluster.take(Site, Synced((site("a", Profile.DEFAULT), site("b", Profile.FAST))))

    def test_by_which_timing_the_other_lives(self, parts: Parts) -> None:
        self.all_told(parts)
        assert parts.node.peer_timings == {A: DEFAULT, B: FAST}
        parts.cluster.take(Site, Changed(site("b", Profile.DEFAULT)))
        assert parts.node.peer_timings[B] == DEFAULT

    def test_whichever_of_the_two_is_told_last(self, parts: Parts) -> None:
        parts.cluster.take(Site, Synced((site("a", Profile.DEFAULT), site("b", Profile.FAST))))
        parts.cluster.take(Host, Synced((host(A, "a"), host(B, "b"))))
        assert parts.node.peer_timings == {A: DEFAULT, B: FAST}

    @pytest.mark.parametrize(("policy", "required"), [("Required", True), ("Optional", False)])
    def test_whether_it_must_have_a_watchdog(
        self, parts: Parts, policy: str, required: bool
    ) -> None:
        parts.node.watchdog_required = not required
        self.all_told(parts, policy)
        assert parts.node.watchdog_required is required

    def test_where_the_replicas_are(self, parts: Parts) -> None:
        self.all_told(parts)
        assert parts.node.addresses == {A: "198.51.100.11", B: "198.51.100.12"}

    def test_where_they_take_guests_in(self, parts: Parts) -> None:
        """At its own address for that, if it has one; a host that does not tell a port does not."""
        able = host(B, "b")
        status = able.status.model_copy(update={"migration_port": 7790})
        able = able.model_copy(update={"status": status})
        parts.cluster.take(Host, Synced((host(A, "a"), able)))
        assert parts.node.migration_ends == {B: ("198.51.100.12", 7790)}
        spec = able.spec.model_copy(update={"migration_address": "203.0.113.12"})
        parts.cluster.take(Host, Changed(able.model_copy(update={"spec": spec})))
        assert parts.node.migration_ends == {B: ("203.0.113.12", 7790)}
        parts.cluster.take(Host, Changed(host(B, "b")))
        assert parts.node.migration_ends == {}

    def test_its_own_timing_is_its_sites_and_until_then_what_it_lives_by(
        self, parts: Parts
    ) -> None:
        parts.node.timing = FAST
        assert parts.cluster.wanted_timing() == FAST
        self.all_told(parts)
        assert parts.cluster.wanted_timing() == PROFILES[Profile.DEFAULT]

    @pytest.mark.parametrize("kind", [Site, Host])
    def test_whatever_changes_is_decided_about_at_once(self, parts: Parts, kind: Any) -> None:
        self.all_told(parts)
        parts.unit.wake.clear()
        parts.cluster.take(kind, Synced(()))
        assert parts.unit.wake.is_set()


class Interrupted:
    """A watch that breaks, and then tells all again."""

    async def watch(self, kind: Any) -> AsyncIterator[Any]:
        yield Synced((mirror(authority()),))
        yield Unheard("it broke")
        yield Unheard("it cannot be begun")
        yield Synced(())


def test_that_nothing_is_heard_is_known_until_all_was_told_again(parts: Parts) -> None:
    said: list[tuple[str, str]] = []
    parts.cluster.api = cast(Any, Interrupted())
    parts.cluster.on_heard = lambda kind, why: said.append((kind, why))
    asyncio.run(parts.cluster._follow(Mirror))
    assert said == [
        ("Mirror", ""),
        ("Mirror", "it broke"),
        ("Mirror", "it cannot be begun"),
        ("Mirror", ""),
    ]
    assert parts.unit.mirror == mirror(authority())
