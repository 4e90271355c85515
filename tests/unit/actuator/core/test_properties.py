"""What holds for every lawful authority, every view and every transition, however unlikely."""

import os
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from tandem_actuator.core import authority as rules
from tandem_actuator.core.authority import Facts, Proposal, Verdict
from tandem_actuator.core.drbd import DrbdState, DrbdUnknown, NotConfigured, VolumeState
from tandem_actuator.core.model import Job, JobState, MigrationNote, Receiving, Record, View
from tandem_actuator.core.order import Start, Stay, Task, decide
from tandem_api.authority import (
    Authority,
    Eligibility,
    Fenced,
    Migration,
    Mode,
    Override,
    violation,
)
from tandem_api.kinds.guest import Assignment, FencingProof, ProofKind
from tandem_api.kinds.mirror import Marker, Mirror, Protocol, ReplicaReport
from tandem_api.reasons import Reason
from tandem_api.timing import DEFAULT
from tandem_api.vocabulary import Connection, DiskState, DomainState, Role
from unit.builders import (
    ADDRESSES,
    HERE,
    INCARNATION,
    THERE,
    UID,
    A,
    B,
    guest,
    heartbeat,
    mirror,
)

MARKER = Marker(reason=Reason.LOCAL_DISK_FAILED)
EXAMPLES = int(os.environ.get("TANDEM_EXAMPLES", "60"))
"""Of each property. Raise it for a long search."""
EARLIER_RUN, EARLIER_BOOT = "a-1/boot1/run0", "a-1/boot0/run0"

epochs = st.integers(1, 8)
eligibility = st.builds(
    Eligibility,
    eligible=st.booleans(),
    reason=st.sampled_from([Reason.IN_SYNC, Reason.LINK_LOST, Reason.NOT_INITIALISED]),
)
overrides = st.builds(
    Override,
    by=st.just("ana"),
    at_epoch=epochs,
    accept_data_loss=st.booleans(),
    host=st.sampled_from([A, B]),
)
owners = st.sampled_from(
    [("", ""), (A, str(HERE)), (A, EARLIER_RUN), (A, EARLIER_BOOT), (B, str(THERE))]
)


migrations = st.sampled_from(
    [
        Migration(id="m1", source=A, target=B),
        Migration(id="m0", source=A, target=B),
        Migration(id="m1", source=B, target=A),
    ]
)


@st.composite
def authorities(draw: st.DrawFn) -> Authority:
    owner, instance = draw(owners)
    mode = draw(st.sampled_from(list(Mode)))
    return Authority(
        epoch=draw(epochs),
        incarnation=INCARNATION,
        owner=owner,
        owner_instance=instance,
        mode=mode,
        eligible=draw(st.dictionaries(st.sampled_from([A, B]), eligibility)),
        fenced=draw(
            st.dictionaries(
                st.just(B), st.builds(Fenced, instance=st.just(str(THERE)), epoch=epochs)
            )
        ),
        migration=draw(migrations) if mode is Mode.MIGRATING else None,
        handed_over=draw(st.sampled_from(["", "m1"])),
        override=draw(st.none() | overrides),
    )


volumes = st.builds(
    VolumeState,
    disk=st.sampled_from(list(DiskState)),
    peer_disk=st.sampled_from(list(DiskState)),
    resyncing=st.booleans(),
)
drbd_states = st.builds(
    DrbdState,
    role=st.sampled_from(list(Role)),
    connection=st.sampled_from(list(Connection)),
    peer_role=st.sampled_from(list(Role)),
    volumes=st.dictionaries(st.sampled_from(["root", "data"]), volumes, max_size=2),
    queried_at_s=st.just(1000.0),
    suspended=st.sampled_from([frozenset(), frozenset({"fencing"})]),
)
drbd_views = drbd_states | st.just(NotConfigured(1000.0)) | st.just(DrbdUnknown("timeout"))
notes = st.builds(
    MigrationNote,
    id=st.sampled_from(["m1", "m0"]),
    run=st.sampled_from([str(HERE), EARLIER_RUN, EARLIER_BOOT]),
    since_s=st.floats(900.0, 1000.0),
    gone=st.booleans(),
    over=st.booleans(),
)
records = st.builds(
    Record,
    uid=st.just(UID),
    incarnation=st.sampled_from(["", INCARNATION]),
    max_epoch=st.integers(0, 9),
    owned_epoch=st.integers(0, 9),
    marker=st.sampled_from([None, MARKER]),
    attached=st.booleans(),
    started_boot_id=st.sampled_from(["", "boot0", "boot1"]),
    outgoing=st.none() | notes,
    incoming=st.none() | notes,
)
link_losses = st.none() | st.floats(900.0, 1000.0)
all_facts = st.builds(
    Facts,
    host=st.just(A),
    peer=st.just(B),
    instance=st.just(HERE),
    record=records,
    drbd=drbd_views,
    now_s=st.just(1000.0),
    link_lost_at_s=link_losses,
    link_wait_s=st.just(DEFAULT.link_wait_s),
)
proofs = st.builds(
    FencingProof,
    kind=st.sampled_from(list(ProofKind)),
    host=st.just(B),
    instance=st.sampled_from([str(THERE), "b-1/boot0/run0"]),
    at_epoch=epochs,
    lease_version=st.sampled_from(["70", "71"]),
    watchdog=st.booleans(),
)
assignments = st.builds(
    Assignment,
    host=st.sampled_from([A, B, ""]),
    serial=st.just(1),
    reason=st.just(Reason.LEASE_LOST),
    proof=st.none() | proofs,
    live=st.booleans(),
)
reports = st.dictionaries(
    st.sampled_from([A, B]),
    st.builds(
        ReplicaReport,
        connection=st.sampled_from(["Connected", "Connecting"]),
        instance=st.sampled_from(["", str(HERE), str(THERE)]),
        sends=st.sampled_from(["", "m1"]),
        receives=st.sampled_from(["", "m1"]),
        marker=st.sampled_from([None, MARKER]),
    ),
)


@st.composite
def mirrors(draw: st.DrawFn) -> Mirror:
    return mirror(
        draw(st.none() | authorities().filter(lambda one: not violation(one))),
        protocol=draw(st.sampled_from(list(Protocol))),
        volumes=("root", "data"),
        replicas=draw(reports),
    )


def claim(at: Mirror, facts: Facts, assigned: Assignment) -> Verdict:
    return rules.claim(at, facts, assigned, heartbeat(), "r")


SIMPLE: tuple[Callable[[Mirror, Facts, str], Verdict], ...] = (
    rules.grant_link_loss,
    rules.restore,
    rules.degrade,
    rules.adopt,
    rules.release,
)


def every_verdict(at: Mirror, facts: Facts, assigned: Assignment) -> list[Verdict]:
    return [
        claim(at, facts, assigned),
        *(rule(at, facts, "r") for rule in SIMPLE),
        rules.begin(at, facts, assigned, "r"),
        rules.hand_over(at, facts, "m1", "r"),
        rules.take_back(at, facts, "m1", "r"),
    ]


def proposals(at: Mirror, facts: Facts, assigned: Assignment) -> list[Proposal]:
    return [v for v in every_verdict(at, facts, assigned) if isinstance(v, Proposal)]


def in_sync(facts: Facts) -> bool:
    return isinstance(facts.drbd, DrbdState) and facts.drbd.in_sync


@settings(max_examples=EXAMPLES, deadline=None)
@given(mirrors(), all_facts, assignments)
def test_every_swap_raises_the_epoch_by_one_and_is_recognisable(
    at: Mirror, facts: Facts, assigned: Assignment
) -> None:
    old = at.status.authority
    for proposal in proposals(at, facts, assigned):
        assert old is not None
        assert proposal.authority.epoch == old.epoch + 1
        assert proposal.authority.request_id == "r"
        assert proposal.authority.incarnation == old.incarnation
        assert proposal.authority.min_protocol >= old.min_protocol


@settings(max_examples=EXAMPLES, deadline=None)
@given(mirrors(), all_facts, assignments)
def test_nobody_becomes_eligible_who_is_not_in_sync_or_the_owner_itself(
    at: Mirror, facts: Facts, assigned: Assignment
) -> None:
    old = at.status.authority
    for proposal in proposals(at, facts, assigned):
        assert old is not None
        if not old.may_own(B) and proposal.authority.may_own(B):
            assert in_sync(facts)
        if not old.may_own(A) and proposal.authority.may_own(A):
            assert in_sync(facts) or old.owner == A


@settings(max_examples=EXAMPLES, deadline=None)
@given(mirrors(), all_facts, assignments)
def test_standalone_always_rules_the_peer_out(
    at: Mirror, facts: Facts, assigned: Assignment
) -> None:
    old = at.status.authority
    for proposal in proposals(at, facts, assigned):
        assert old is not None
        entered = proposal.authority.mode is Mode.STANDALONE and proposal.authority.owner == A
        if entered and (old.mode is not Mode.STANDALONE or old.owner != A):
            assert not proposal.authority.may_own(B)


@settings(max_examples=EXAMPLES, deadline=None)
@given(mirrors(), all_facts, assignments)
def test_out_of_standalone_only_in_sync(at: Mirror, facts: Facts, assigned: Assignment) -> None:
    old = at.status.authority
    for proposal in proposals(at, facts, assigned):
        assert old is not None
        if old.mode is Mode.STANDALONE and proposal.authority.mode is not Mode.STANDALONE:
            assert in_sync(facts)


@settings(max_examples=EXAMPLES, deadline=None)
@given(mirrors(), all_facts, assignments)
def test_the_peer_is_made_the_owner_by_a_handover_alone_and_hold_is_never_left(
    at: Mirror, facts: Facts, assigned: Assignment
) -> None:
    old = at.status.authority
    for proposal in proposals(at, facts, assigned):
        assert old is not None
        assert old.mode is not Mode.HOLD or proposal.authority.mode is Mode.HOLD
        if proposal.authority.owner == B:
            assert (old.owner, proposal.authority.handed_over) == (A, "m1")
            assert old.migrates_as("m1")
            assert isinstance(facts.drbd, DrbdState)
            assert facts.drbd.role is Role.SECONDARY


@settings(max_examples=EXAMPLES, deadline=None)
@given(mirrors(), all_facts, assignments)
def test_a_claim_takes_nothing_that_a_peer_may_still_write(
    at: Mirror, facts: Facts, assigned: Assignment
) -> None:
    verdict = claim(at, facts, assigned)
    old = at.status.authority
    if not isinstance(verdict, Proposal):
        return
    assert old is not None
    assert isinstance(facts.drbd, DrbdState)
    assert assigned.host == A
    assert old.may_own(A)
    assert not (facts.drbd.connected and facts.drbd.peer_role is not Role.SECONDARY)
    if old.owner == B:
        assert old.both_count
        assert at.spec.protocol is Protocol.C
        assert assigned.proof is not None
        assert (assigned.proof.at_epoch, assigned.proof.instance) == (old.epoch, str(THERE))
    assert not verdict.force or old.override is not None
    if not verdict.force:
        assert facts.record.marker is None
        assert all(
            v.disk in (DiskState.UP_TO_DATE, DiskState.CONSISTENT)
            for v in facts.drbd.volumes.values()
        )


views = st.builds(
    View,
    host=st.just(A),
    instance=st.just(HERE),
    mirror=mirrors(),
    guest=st.none() | st.builds(guest, st.none() | assignments),
    record=records,
    drbd=drbd_views,
    domain=st.sampled_from(list(DomainState)),
    timing=st.just(DEFAULT),
    peer_timing=st.none() | st.just(DEFAULT),
    watchdog_armed=st.booleans(),
    watchdog_required=st.booleans(),
    addresses=st.just(ADDRESSES),
    link_lost_at_s=link_losses,
    in_sync_since_s=st.none() | st.floats(990.0, 1000.0),
    was_behind=st.booleans(),
    starting=st.booleans(),
    handler_running=st.booleans(),
    shutdown_sent_at_s=st.none() | st.floats(900.0, 1000.0),
    shutdown_heard=st.booleans(),
    frozen_since_s=st.none() | st.floats(900.0, 1000.0),
    without_data_since_s=st.none() | st.floats(900.0, 1000.0),
    job=st.none()
    | st.builds(Job, st.just("m1"), st.floats(900.0, 1000.0), st.sampled_from(list(JobState))),
    receiving=st.none()
    | st.builds(Receiving, st.just("m1"), st.floats(900.0, 1000.0), st.booleans()),
)


@settings(max_examples=EXAMPLES, deadline=None)
@given(views)
def test_every_view_has_a_decision_with_a_reason(known: View) -> None:
    decision = decide(known, 1000.0, "2026-01-01T00:00:00Z")
    assert isinstance(decision, Start | Stay)
    assert isinstance(decision.reason, Reason)
    if decision.reason is not Reason.STEADY:
        assert decision.message


@settings(max_examples=EXAMPLES, deadline=None)
@given(views)
def test_what_is_held_is_never_touched(known: View) -> None:
    decision = decide(known, 1000.0, "2026-01-01T00:00:00Z")
    if rules.held(known.mirror, known.record):
        assert isinstance(decision, Stay)


@settings(max_examples=EXAMPLES, deadline=None)
@given(views)
def test_a_start_is_only_for_a_guest_that_is_assigned_here_and_absent(known: View) -> None:
    decision = decide(known, 1000.0, "2026-01-01T00:00:00Z")
    if isinstance(decision, Start) and decision.task is Task.START:
        assert known.guest is not None
        assert known.guest.status.assignment is not None
        assert known.guest.status.assignment.host == A
        assert not known.guest_may_run


@settings(max_examples=EXAMPLES, deadline=None)
@given(views)
def test_a_guest_assigned_here_is_never_stopped_by_a_decision(known: View) -> None:
    decision = decide(known, 1000.0, "2026-01-01T00:00:00Z")
    assigned = known.guest.status.assignment if known.guest else None
    if assigned is None or assigned.host == A:
        assert not (
            isinstance(decision, Start)
            and decision.task in (Task.SHUT_DOWN, Task.PULL_PLUG, Task.DEMOTE, Task.RELEASE)
        )
