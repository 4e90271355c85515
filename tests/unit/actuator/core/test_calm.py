"""What is not decided again until something changes: it must be what would be decided then, too."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem_actuator.core.drbd import DrbdState
from tandem_actuator.core.mirror.readings import tells_the_same
from tandem_actuator.core.model import MigrationNote, Resync, View
from tandem_actuator.core.order import Stay, decide, is_calm
from tandem_actuator.run.calm import Calm
from tandem_api.authority import Authority, Unlawful
from tandem_api.kinds.mirror import Protocol
from tandem_api.reasons import Reason
from tandem_api.vocabulary import Connection, DiskState, DomainState, Role
from unit.builders import HERE, authority, drbd, frozen, mirror, record, standalone, view

from .test_properties import EXAMPLES, authorities, records

NOW_S = 1000.0
LATER_S = (0.1, 1.0, 3.0, 6.0, 20.0, 100.0, 1e6)


def runs(state: DrbdState | None = None, at: Authority | None = None, **changes: Any) -> View:
    """A guest runs here, in sync a moment ago."""
    found = state or drbd(Role.PRIMARY)
    return view(
        at or authority(), found, domain=DomainState.RUNNING, in_sync_since_s=999.9, **changes
    )


def later(known: View, seconds: float) -> View:
    """Looked at again, and its heartbeat confirmed."""
    assert isinstance(known.drbd, DrbdState)
    at_s = NOW_S + seconds
    seen = replace(known.drbd, queried_at_s=at_s, volumes=dict(known.drbd.volumes))
    return replace(known, drbd=seen, renewal_sent_at_s=at_s)


def test_a_guest_that_runs_in_sync_is_calm() -> None:
    known = runs()
    assert is_calm(known, decide(known, NOW_S, ""))


OWES = record(owned_epoch=5, owes_copy=True)
COPIES = drbd(Role.PRIMARY, peer_disk=DiskState.INCONSISTENT, resyncing=True, out_of_sync_bytes=9)


@pytest.mark.parametrize(
    "known",
    [
        pytest.param(runs(drbd(Role.PRIMARY, out_of_sync_bytes=4096)), id="bits"),
        pytest.param(runs(record=OWES), id="a copy is owed"),
        pytest.param(runs(frozen(), frozen_since_s=999.9), id="frozen"),
        pytest.param(runs(COPIES, standalone(), resync=Resync(9, 999.0, "")), id="a resync"),
    ],
)
def test_what_waits_for_time_is_not_calm(known: View) -> None:
    decision = decide(known, NOW_S, "")
    assert decision == Stay(Reason.RUNNING, "running")
    assert any(decide(later(known, dt_s), NOW_S + dt_s, "") != decision for dt_s in LATER_S)
    assert not is_calm(known, decision)


moments = st.none() | st.floats(900.0, NOW_S)
VIEWS = st.builds(
    runs,
    st.builds(
        drbd,
        st.just(Role.PRIMARY),
        st.sampled_from([Connection.CONNECTED, Connection.CONNECTED, Connection.CONNECTING]),
        peer_disk=st.sampled_from([DiskState.UP_TO_DATE, None, DiskState.INCONSISTENT]),
        peer_role=st.sampled_from([Role.SECONDARY, Role.PRIMARY]),
        out_of_sync_bytes=st.sampled_from([0, 0, 4096]),
        suspended=st.sampled_from([False, False, True]),
    ),
    st.just(authority()) | st.just(standalone()) | authorities(),
    record=st.just(record(owned_epoch=5)) | records,
    frozen_since_s=moments,
    without_data_since_s=moments,
    shutdown_sent_at_s=moments,
    link_lost_at_s=moments,
    was_behind=st.booleans(),
    failures=st.integers(0, 4),
    lapsed=st.booleans(),
    heard_since_lapse=st.booleans(),
    deaf=st.booleans(),
    drbd_major=st.sampled_from([8, 9]),
    listed=st.booleans(),
)


@settings(max_examples=EXAMPLES, deadline=None)
@given(VIEWS)
def test_what_is_calm_would_be_decided_again_at_any_time(known: View) -> None:
    try:
        decision = decide(known, NOW_S, "")
    except Unlawful:
        return  # a wall is around it, and what is behind one is judged at its own pace
    if is_calm(known, decision):
        for dt_s in LATER_S:
            assert decide(later(known, dt_s), NOW_S + dt_s, "") == decision


class TestLasts:
    """Held against all that is known now."""

    def calm(self, known: View) -> Calm:
        made = Calm()
        made.note(known, decide(known, NOW_S, ""))
        return made

    def test_until_something_changes(self) -> None:
        known = runs()
        calm = self.calm(known)
        assert calm.lasts(known, Reason.RUNNING)
        assert calm.lasts(later(known, 1.0), Reason.RUNNING)
        assert calm.lasts(later(known, 1e6), Reason.RUNNING)

    @pytest.mark.parametrize(
        "change",
        [
            {"drbd": drbd(Role.PRIMARY, Connection.CONNECTING)},
            {"drbd": drbd(Role.PRIMARY, peer_disk=DiskState.INCONSISTENT)},
            {"drbd": drbd(Role.PRIMARY, peer_role=Role.PRIMARY)},
            {"drbd": drbd(Role.PRIMARY, suspended=True)},
            {"drbd": replace(drbd(Role.PRIMARY), protocol=Protocol.A)},
            {"mirror": mirror(authority("b-1"))},
            {"record": record(owned_epoch=5, outgoing=MigrationNote("m1", str(HERE), 1.0))},
            {"guest": None},
            {"domain": DomainState.ABSENT},
            {"lapsed": True},
            {"watchdog_armed": False},
            {"resync": Resync(1, 1.0, "")},
        ],
        ids=str,
    )
    def test_not_beyond_a_change(self, change: dict[str, object]) -> None:
        known = runs()
        calm = self.calm(known)
        assert not calm.lasts(replace(known, **change), Reason.RUNNING)  # type: ignore[arg-type]
        assert not calm.lasts(known, Reason.RUNNING)  # what was decided since is another thing

    def test_not_where_something_else_stands_on_the_mirror(self) -> None:
        """As after a bug that was met beside its turns."""
        known = runs()
        assert not self.calm(known).lasts(known, Reason.INTERNAL_ERROR)

    def test_not_what_waits_for_time(self) -> None:
        known = runs(drbd(Role.PRIMARY, out_of_sync_bytes=4096))
        assert not self.calm(known).lasts(known, Reason.RUNNING)


def test_while_a_resync_is_followed_nothing_tells_the_same() -> None:
    known = runs(COPIES, standalone(), resync=Resync(9, 999.0, ""))
    assert not tells_the_same(known, known)
