"""Which guest has a mirror on a host, when several name it or one names another than it is on."""

import random
from pathlib import Path

from sim.host.files import SimFiles
from tandem_actuator.adapters.files.object_cache import ObjectCache
from tandem_actuator.adapters.files.records import FileRecords
from tandem_actuator.core.host.permission import run_permission
from tandem_actuator.core.model import Record
from tandem_actuator.run.cluster import Cluster
from tandem_actuator.run.matching import match_guests
from tandem_actuator.run.node import NodeFacts
from tandem_actuator.run.workload import Unit
from tandem_api.authority import Instance
from tandem_api.kinds.guest import Guest
from tandem_api.kinds.mirror import Mirror
from tandem_api.timing import DEFAULT
from tandem_api.vocabulary import DomainState
from tandem_hostile import A, B, Raw, guest, mirror

ME = NodeFacts(A, Instance(node=A, boot_id="boot", run_id="run"), DEFAULT)


def unit_of(name: str) -> Unit:
    parsed = Mirror.parse(mirror(name))
    return Unit(mirror=parsed, record=Record(uid=parsed.metadata.uid))


def named(name: str, on: str, *, assigned: str = "", created: str = "2024") -> Guest:
    raw = guest(name)
    raw["metadata"]["creationTimestamp"] = created
    raw["spec"]["mirror"] = on
    raw["status"] = _status(on, assigned) if assigned else {}
    return Guest.parse(raw)


def _status(on: str, host: str) -> Raw:
    return {"assignment": {"host": host, "mirror": on, "serial": 1, "reason": "Running"}}


def running(unit: Unit, guest: Guest) -> None:
    """As it is once the guest was started here."""
    unit.observe_guest(guest)
    unit.observe_domain(DomainState.RUNNING)


class TestSeveralGuestsOnOneMirror:
    def test_the_one_that_runs_here_is_the_one_that_is_guarded(self) -> None:
        """Else the host would take it for stopped, and a takeover would run it twice."""
        unit, mine = unit_of("g"), named("g", "g", assigned=A)
        running(unit, mine)
        match_guests([unit], [named("a", "g", created="2020"), mine, named("z", "g")])
        assert unit.guest == mine
        unit.frozen_since_s = None
        assert unit.view(ME).guest_may_run
        assert not run_permission(unit.view(ME), 0.0, now_s=60.0).allowed

    def test_the_one_that_is_assigned_comes_before_an_older_one(self) -> None:
        unit, mine = unit_of("g"), named("g", "g", assigned=A)
        match_guests([unit], [named("a", "g", created="2020"), mine])
        assert unit.guest == mine

    def test_among_new_ones_the_oldest_has_it(self) -> None:
        unit, older = unit_of("g"), named("z", "g", created="2020")
        match_guests([unit], [named("a", "g"), older])
        assert unit.guest == older

    def test_when_the_one_that_ran_is_gone_the_next_has_it(self) -> None:
        unit, mine, other = unit_of("g"), named("g", "g", assigned=A), named("z", "g")
        running(unit, mine)
        match_guests([unit], [other])
        assert unit.guest == mine
        unit.observe_domain(DomainState.ABSENT)
        match_guests([unit], [other])
        assert unit.guest == other


class TestAnotherMirrorInTheSpec:
    def test_the_guest_stays_with_the_mirror_that_it_runs_on(self) -> None:
        """It must be neither forgotten there, nor taken for the new mirror's and fenced."""
        units = [unit_of("g"), unit_of("other")]
        running(units[0], named("g", "g", assigned=A))
        edited = named("g", "other")
        match_guests(units, [edited])
        assert units[0].guest is not None
        assert units[0].view(ME).guest_may_run
        assert units[1].guest is None

    def test_an_order_to_stop_still_reaches_it(self) -> None:
        units = [unit_of("g"), unit_of("other")]
        running(units[0], named("g", "g", assigned=A))
        raw = guest("g")
        raw["spec"]["mirror"] = "other"
        raw["status"] = {"assignment": {"mirror": "g", "serial": 2, "reason": "NotRequested"}}
        raw["status"]["hosts"] = {A: {"state": "Running", "assignmentSerial": 1}}
        match_guests(units, [Guest.parse(raw)])
        assert units[0].guest == Guest.parse(raw)
        assert units[1].guest is None

    def test_once_it_has_stopped_everywhere_it_has_the_new_one(self) -> None:
        raw = guest("g")
        raw["spec"]["mirror"] = "other"
        raw["status"] = {"assignment": {"mirror": "g", "serial": 2, "reason": "NotRequested"}}
        raw["status"]["hosts"] = {
            host: {"state": "Absent", "assignmentSerial": 2} for host in (A, B)
        }
        assert Guest.parse(raw).mirror_in_use == "other"
        raw["status"]["hosts"][B]["assignmentSerial"] = 1
        assert Guest.parse(raw).mirror_in_use == "g"


def test_before_guests_are_listed_what_the_last_run_knew_counts() -> None:
    """The API may be away when the actuator starts again, and libvirt's first word is a change."""
    files = SimFiles(random.Random(1))
    cache = ObjectCache(Path("/run/objects"), files)
    mine = named("g", "g", assigned=A)
    cache.store(Mirror.parse(mirror("g")), mine)
    records = FileRecords(Path("/var/mirrors"), files)
    cluster = Cluster(api=None, records=records, cache=cache, node=ME, on_unit=lambda unit: None)  # type: ignore[arg-type]
    cluster.recall()
    (unit,) = cluster.units.values()
    unit.observe_domain(DomainState.ABSENT)
    cluster.match_guests()
    assert unit.guest == mine
