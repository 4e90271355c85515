"""When a host tells the API about a replica: at once, but for how much is out of sync."""

from dataclasses import replace

import pytest

from tandem_actuator.core.drbd import DrbdState
from tandem_actuator.core.packets import Packets
from tandem_actuator.core.report import (
    BYTES_INTERVAL_S,
    REPEAT_INTERVAL_S,
    guest_report,
    guest_report_is_due,
    replica_report,
    replica_report_is_due,
)
from tandem_api.kinds.guest import GuestReport
from tandem_api.kinds.mirror import ReplicaReport
from tandem_api.reasons import Reason
from tandem_api.vocabulary import DomainState
from unit.builders import A, B, assignment, authority, drbd, lost, view


def report(kib: int = 0, disk: str = "UpToDate", message: str = "") -> ReplicaReport:
    volume = {"disk": disk, "peerDisk": "Outdated", "outOfSyncBytes": 1024 * kib}
    return ReplicaReport.model_validate(
        {
            "instance": "a/1/1",
            "epochSeen": 3,
            "role": "Primary",
            "connection": "Connecting",
            "message": message,
            "volumes": {"root": volume},
        }
    )


SOON_S, LATER_S = BYTES_INTERVAL_S / 2, BYTES_INTERVAL_S


@pytest.mark.parametrize(
    ("new", "sent", "age_s", "due"),
    [
        (report(), None, 0.0, True),
        (report(), report(), 1000.0, False),
        (report(9), report(8), SOON_S, False),
        (report(9), report(8), LATER_S, True),
        (report(0), report(8), SOON_S, True),
        (report(9), report(0), SOON_S, False),
        (report(9, "Inconsistent"), report(8), SOON_S, True),
    ],
)
def test_a_change_is_told_at_once_but_for_bytes(
    new: ReplicaReport, sent: ReplicaReport | None, age_s: float, due: bool
) -> None:
    assert replica_report_is_due(new, sent, sent, age_s) is due


def test_a_report_that_the_api_does_not_show_is_sent_again_after_a_while() -> None:
    mine, older = report(disk="Failed"), report(message="in sync")
    late_s = REPEAT_INTERVAL_S + 0.1
    assert not replica_report_is_due(mine, mine, older, REPEAT_INTERVAL_S)
    assert replica_report_is_due(mine, mine, older, late_s)
    shown = mine.model_copy(update={"message": "with words"})
    assert not replica_report_is_due(mine, mine, shown, late_s)
    assert not replica_report_is_due(mine, mine, None, REPEAT_INTERVAL_S)
    assert replica_report_is_due(mine, mine, None, late_s)


def test_so_is_what_a_host_says_of_a_guest() -> None:
    mine = GuestReport(instance="a/1/1", state=DomainState.RUNNING, reason=Reason.RUNNING)
    older = mine.model_copy(update={"state": DomainState.ABSENT})
    late_s = REPEAT_INTERVAL_S + 0.1
    assert guest_report_is_due(mine, older, older, 0.0)
    assert not guest_report_is_due(mine, mine, older, REPEAT_INTERVAL_S)
    assert guest_report_is_due(mine, mine, older, late_s)
    assert guest_report_is_due(mine, mine, None, late_s)
    shown = mine.model_copy(update={"message": "with words"})
    assert not guest_report_is_due(mine, mine, shown, late_s)


@pytest.mark.parametrize(
    ("domain", "reason", "told"),
    [
        (DomainState.ABSENT, Reason.STEADY, "Absent"),
        (DomainState.ABSENT, Reason.STARTING, "Starting"),
        (DomainState.RUNNING, Reason.STARTING, "Running"),
        (DomainState.UNKNOWN, Reason.STARTING, "Starting"),
        (DomainState.UNKNOWN, Reason.STEADY, "Unknown"),
    ],
)
def test_a_guest_that_is_being_started_is_not_called_absent(
    domain: DomainState, reason: Reason, told: str
) -> None:
    """Also not beside an assignment to the other host, which the start has not heard of."""
    known = view(authority(), drbd(), assigned=assignment(B), host=A, domain=domain)
    said = guest_report(known, reason, "", {})
    assert said is not None
    assert said.state == told


class TestWhenTheLinkWasLost:
    """By which a controller counts until when the other host may have lived on it."""

    def told(self, state: DrbdState, packets: Packets) -> tuple[float | None, float | None]:
        known = replace(view(authority(B), state), link_lost_at_s=900.1234, packets=packets)
        made = replica_report(known, Reason.STEADY, "", None, 1000.0)
        return made.link_lost_at_seconds, made.last_packet_at_seconds

    def test_it_is_told_with_the_last_packet_never_earlier_than_it_was(self) -> None:
        packets = Packets(receiving=frozenset(), last_at_s=899.0001)
        assert self.told(lost(), packets) == (900.124, 899.001)

    def test_not_while_a_socket_is_open_that_may_receive_more(self) -> None:
        packets = Packets(receiving=frozenset({7}), last_at_s=1000.0)
        assert self.told(lost(), packets) == (None, None)

    def test_nor_while_it_is_connected(self) -> None:
        packets = Packets(receiving=frozenset(), last_at_s=899.0)
        assert self.told(drbd(), packets) == (None, None)

    def test_without_tcp_the_loss_alone(self) -> None:
        assert self.told(lost(), Packets()) == (900.124, None)
