"""What a host remembers of starts that were refused, and until when."""

from tandem_actuator.core.model import Record
from tandem_actuator.run.learning import start_refused
from tandem_actuator.run.workload import Unit
from tandem_api.kinds.guest import Guest
from tandem_api.kinds.mirror import Mirror
from tandem_api.vocabulary import DomainState
from tandem_hostile import guest, mirror


def refused(times: int = 1) -> Unit:
    unit = Unit(mirror=Mirror.parse(mirror("g")), record=Record(uid="uid-g"))
    unit.observe_guest(Guest.parse(guest("g")))
    for at_s in range(times):
        start_refused(unit, "no bridge", float(at_s))
    return unit


def rounds(unit: Unit) -> int:
    return unit.refusals.rounds if unit.refusals else 0


def test_rounds_are_counted() -> None:
    assert rounds(refused(3)) == 3


def test_one_that_runs_is_not_refused() -> None:
    unit = refused()
    unit.observe_domain(DomainState.RUNNING)
    assert rounds(unit) == 0


def test_a_start_whose_end_is_not_known_yet_changes_nothing() -> None:
    unit = refused()
    unit.observe_domain(DomainState.UNKNOWN)
    unit.observe_domain(DomainState.ABSENT)
    assert rounds(unit) == 1


def test_an_edited_guest_is_another() -> None:
    unit = refused()
    raw = guest("g")
    unit.observe_guest(Guest.parse(raw))
    assert rounds(unit) == 1
    raw["metadata"]["generation"] = 7
    unit.observe_guest(Guest.parse(raw))
    assert rounds(unit) == 0


def test_so_is_one_whose_edit_was_found_valid() -> None:
    """It came with the edit itself that nobody had judged yet: that was tried in vain."""
    raw, unit = guest("g"), refused()
    raw["metadata"]["generation"] = 7
    raw["status"] = {**raw.get("status", {}), "accepted": {**raw["spec"], "priority": 1}}
    unit.observe_guest(Guest.parse(raw))
    start_refused(unit, "no bridge", 9.0)
    valid = {"type": "SpecValid", "status": "True", "reason": "x", "observedGeneration": 7}
    raw["status"] = {**raw["status"], "accepted": raw["spec"], "conditions": [valid]}
    unit.observe_guest(Guest.parse(raw))
    assert rounds(unit) == 0


def test_another_order_counts_anew() -> None:
    unit = refused(2)
    raw = guest("g")
    raw["status"] = {"assignment": {"host": "x", "serial": 99, "reason": "Failback"}}
    unit.observe_guest(Guest.parse(raw))
    assert rounds(unit) == 2
    start_refused(unit, "no bridge", 9.0)
    assert rounds(unit) == 1
