"""A unit's view is made again exactly when something in it is another."""

from dataclasses import replace

from tandem_actuator.run.node import NodeFacts
from tandem_actuator.run.remembered import Remembered
from tandem_actuator.run.workload import Unit
from tandem_api.timing import DEFAULT, PROFILES, Profile
from tandem_api.vocabulary import DomainState, Role
from unit.builders import HERE, A, B, authority, drbd, mirror, record


def unit() -> Unit:
    made = Unit(mirror=mirror(authority()), record=record(owned_epoch=5))
    made.drbd, made.domain = drbd(Role.PRIMARY), DomainState.RUNNING
    return made


def test_it_is_the_same_one_while_nothing_changes() -> None:
    made, node = unit(), NodeFacts(A, HERE, DEFAULT)
    assert made.view(node) is made.view(node)


def test_whatever_changes_in_unit_or_node_is_seen() -> None:
    """Each in turn, on the last one's shoulders: nothing of them is told to anybody."""
    made, node = unit(), NodeFacts(A, HERE, DEFAULT)
    changes: tuple[tuple[object, str, object], ...] = (
        (made, "drbd", replace(drbd(Role.PRIMARY), queried_at_s=1001.0)),
        (made, "domain", DomainState.PAUSED),
        (made, "record", record(owned_epoch=6)),
        (made, "mirror", mirror(authority(B))),
        (made, "lapses", 1),
        (made, "handlers", 1),
        (made, "starting", True),
        (made, "link_lost_at_s", 990.0),
        (node, "renewal_sent_at_s", 1000.5),
        (node, "timing", PROFILES[Profile.FAST]),
        (node, "peer_timings", {B: PROFILES[Profile.FAST]}),
        (node, "deaf", True),
        (node, "guests_listed", True),
        (made.transit, "refused", (0, "it is too large")),
    )
    for holder, name, value in changes:
        before = made.view(node)
        setattr(holder, name, value)
        after = made.view(node)
        assert after != before, name


def test_what_is_equal_and_another_is_made_anew() -> None:
    remembered, first = Remembered(lambda one: [one]), {"a": 1}
    made = remembered(one=first)
    assert remembered(one=first) is made
    assert remembered(one=dict(first)) is not made
