"""Protocol A: DRBD neither freezes nor waits, so a release does not prove that all has arrived."""

from dataclasses import replace

import pytest

from tandem_actuator.core import authority as rules
from tandem_actuator.core.authority import Proposal, Refusal
from tandem_actuator.core.drbd import DrbdState
from tandem_actuator.core.mirror.resource_file import render
from tandem_api.authority import Authority, Fenced, Override
from tandem_api.kinds.mirror import DeviceNumbers, Protocol
from tandem_api.reasons import Reason
from tandem_api.timing import DEFAULT, drbd_timers
from tandem_api.vocabulary import DiskState, Role
from unit.builders import A, B, assignment, authority, drbd, facts, lost, mirror


def released(*hosts: str) -> Authority:
    """By these hosts, one after another."""
    fenced = {host: Fenced(instance="x", epoch=epoch) for epoch, host in enumerate(hosts, 1)}
    return authority("", fenced=fenced)


def claimed(held_by: Authority, state: DrbdState, protocol: Protocol = Protocol.A) -> object:
    return rules.claim(mirror(held_by, protocol=protocol), facts(state), assignment(A), None, "r")


@pytest.mark.parametrize(
    ("hosts", "state", "allowed"),
    [
        ((B,), drbd(), True),
        ((B,), lost(), False),
        ((B,), drbd(peer_disk=DiskState.INCONSISTENT, resyncing=True), False),
        ((A, B), lost(), False),
        ((B, A), lost(), True),
        ((A,), lost(), True),
        ((), lost(), True),
    ],
    ids=["in-sync", "link-lost", "resync", "later", "own-is-later", "own", "never-owned"],
)
def test_after_a_release_it_is_claimed_where_everything_is(
    hosts: tuple[str, ...], state: DrbdState, *, allowed: bool
) -> None:
    verdict = claimed(released(*hosts), state)
    if allowed:
        assert isinstance(verdict, Proposal)
    else:
        assert isinstance(verdict, Refusal)
        assert verdict.reason is Reason.PROTOCOL_NOT_SYNCHRONOUS
        assert f"on {B}" in verdict.message


def test_the_last_owner_must_be_seen_as_secondary() -> None:
    """DRBD tells it in the stream that carried its writes."""
    verdict = claimed(released(B), drbd(peer_role=Role.PRIMARY))
    assert isinstance(verdict, Refusal)
    assert verdict.reason is Reason.PEER_STILL_PRIMARY


@pytest.mark.parametrize("protocol", [Protocol.B, Protocol.C])
def test_with_the_others_its_release_is_enough(protocol: Protocol) -> None:
    assert isinstance(claimed(released(B), lost(), protocol), Proposal)


@pytest.mark.parametrize("state", [lost(), drbd()])
def test_what_drbd_used_counts_and_not_only_what_is_written(state: DrbdState) -> None:
    """The spec says C by now. The last connection was another, or DRBD uses A still."""
    at, order = mirror(released(B)), assignment(A)
    known = facts(state)
    noted = replace(known, record=replace(known.record, asynchronous=True))
    used = replace(known, drbd=replace(state, protocol=Protocol.A))
    for one in (noted, used):
        verdict = rules.claim(at, one, order, None, "r")
        assert isinstance(verdict, Proposal if state.in_sync else Refusal)
    assert isinstance(rules.claim(at, known, order, None, "r"), Proposal)


def test_a_person_may_order_it() -> None:
    order = Override(by="ana", at_epoch=4, accept_data_loss=True, host=A)
    held_by = released(B).model_copy(update={"override": order})
    assert isinstance(claimed(held_by, lost()), Proposal)


@pytest.mark.parametrize(
    ("protocol", "fencing"),
    [
        (Protocol.A, "resource-only"),
        (Protocol.B, "resource-and-stonith"),
        (Protocol.C, "resource-and-stonith"),
    ],
)
def test_drbd_freezes_wherever_it_can(protocol: Protocol, fencing: str) -> None:
    text = render(
        mirror(authority(), protocol=protocol),
        {A: "192.0.2.1", B: "192.0.2.2"},
        DeviceNumbers(port=7789, minors={"root": 0}),
        drbd_timers(DEFAULT),
        version_major=8,
        fence_peer="/bin/true",
    )
    assert f"fencing {fencing};" in text
