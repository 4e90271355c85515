"""What has arrived at the peer, and when its last packet came: by what TCP tells at each look."""

import math
from collections.abc import Iterable
from dataclasses import replace

import pytest

from tandem_actuator.core.drbd import DrbdUnknown, DrbdView, NotConfigured
from tandem_actuator.core.packets import BLIND_LOOKS, MARKS, Packets, followed
from tandem_actuator.core.sockets import Socket
from tandem_api.vocabulary import Role
from unit.builders import drbd, lost

PEER = "198.51.100.12"
NEVER = -math.inf


def tcp(
    cookie: int = 1,
    *,
    sent: int = 100,
    arrived: int = 100,
    heard_s: float = 0.0,
    receives: bool = True,
    peer: str = PEER,
) -> Socket:
    return Socket(cookie, peer, receives, arrived, sent, heard_s)


class Link:
    """Looks at it, one after another, each with what TCP tells then."""

    def __init__(self) -> None:
        self.known = Packets()

    def look(
        self,
        at_s: float,
        sockets: Iterable[Socket] | None,
        *,
        connected: bool = True,
        acquits: bool = True,
        address: str | None = PEER,
    ) -> Packets:
        state = drbd(Role.PRIMARY, at_s=at_s) if connected else lost()
        told = None if sockets is None else tuple(sockets)
        view: DrbdView = replace(state, sockets=told, queried_at_s=at_s)
        self.known = followed(
            self.known, view, address, acquits=acquits and connected, now_s=at_s + 0.01
        )
        return self.known


@pytest.fixture
def link() -> Link:
    return Link()


class TestWhatArrives:
    def test_a_look_alone_proves_nothing(self, link: Link) -> None:
        assert link.look(1.0, [tcp()]).arrived_after_s == NEVER

    def test_what_was_sent_before_a_look_does_not_prove_it(self, link: Link) -> None:
        """Nor does an acknowledged SYN or FIN, which counts as a byte."""
        link.look(1.0, [tcp(sent=108, arrived=100)])
        assert link.look(1.5, [tcp(sent=108, arrived=108)]).arrived_after_s == NEVER
        assert link.look(2.0, [tcp(sent=109, arrived=109)]).arrived_after_s == NEVER

    def test_what_was_sent_after_it_does_and_its_own_time_counts(self, link: Link) -> None:
        """Not when it was acknowledged: that may be long after it arrived."""
        link.look(1.0, [tcp(sent=100)])
        assert link.look(3.0, [tcp(sent=108, arrived=108)]).arrived_after_s == 1.0

    def test_the_latest_look_before_it_counts(self, link: Link) -> None:
        for at_s, sent in ((1.0, 100), (1.5, 100), (2.0, 108)):
            link.look(at_s, [tcp(sent=sent, arrived=100)])
        assert link.look(2.5, [tcp(sent=108, arrived=108)]).arrived_after_s == 1.5

    def test_any_socket_does_and_only_by_its_own_numbers(self, link: Link) -> None:
        link.look(1.0, [tcp(1, sent=100), tcp(2, sent=5000, arrived=5000)])
        seen = link.look(2.0, [tcp(1, sent=100), tcp(2, sent=5008, arrived=5008)])
        assert seen.arrived_after_s == 1.0

    def test_another_connection_proves_no_look_at_this_one(self, link: Link) -> None:
        link.look(1.0, [tcp(1, sent=100)])
        assert link.look(2.0, [tcp(2, sent=9000, arrived=9000)]).arrived_after_s == NEVER

    def test_a_socket_to_somebody_else_proves_nothing(self, link: Link) -> None:
        link.look(1.0, [tcp(peer="198.51.100.99")])
        seen = link.look(2.0, [tcp(sent=200, arrived=200, peer="198.51.100.99")])
        assert seen.arrived_after_s == NEVER

    def test_an_address_may_be_written_otherwise(self, link: Link) -> None:
        long = "2001:DB8:0::12"
        link.look(1.0, [tcp(peer="2001:db8::12")], address=long)
        again = [tcp(sent=108, arrived=108, peer="2001:db8::12")]
        assert link.look(2.0, again, address=long).arrived_after_s == 1.0

    def test_without_an_address_they_are_drbds_if_all_lead_to_one_peer(self, link: Link) -> None:
        """As for a run that begins without the API."""
        link.look(1.0, [tcp(1), tcp(2)], address=None)
        after = [tcp(1, sent=108, arrived=108), tcp(2)]
        assert link.look(2.0, after, address=None).arrived_after_s == 1.0

    def test_without_an_address_nothing_is_known_where_they_do_not(self, link: Link) -> None:
        for at_s, sent in ((1.0, 100), (2.0, 108), (3.0, 116)):
            both = [tcp(1, sent=sent, arrived=sent), tcp(2, peer="198.51.100.99")]
            seen = link.look(at_s, both, address=None)
            assert seen.arrived_after_s == NEVER
        assert seen.unseen

    def test_looks_at_a_link_that_nobody_may_live_on_count_for_nothing(self, link: Link) -> None:
        """Its peer was Primary; nor does what was known before."""
        link.look(1.0, [tcp(sent=100)])
        link.look(2.0, [tcp(sent=108, arrived=108)])
        link.look(3.0, [tcp(sent=116, arrived=116)], acquits=False)
        assert link.look(4.0, [tcp(sent=124, arrived=124)]).arrived_after_s == NEVER
        assert link.look(5.0, [tcp(sent=132, arrived=132)]).arrived_after_s == 4.0

    def test_nor_does_what_arrived_before_one_of_them_that_saw_no_socket(self, link: Link) -> None:
        link.look(1.0, [tcp(sent=100)])
        link.look(2.0, [tcp(sent=108, arrived=108)])
        assert link.look(3.0, None, acquits=False).arrived_after_s == NEVER

    def test_a_link_that_was_lost_begins_anew(self, link: Link) -> None:
        link.look(1.0, [tcp(sent=100)])
        link.look(2.0, [tcp(sent=108, arrived=108)])
        link.look(3.0, [tcp(receives=False)], connected=False)
        assert link.look(4.0, [tcp(sent=116, arrived=116)]).arrived_after_s == NEVER

    def test_a_look_that_failed_changes_nothing(self, link: Link) -> None:
        before = link.look(1.0, [tcp()])
        after = followed(before, DrbdUnknown("timeout"), PEER, acquits=False, now_s=2.0)
        assert after == before

    def test_of_many_looks_the_latest_are_kept(self, link: Link) -> None:
        for number in range(3 * MARKS):
            link.look(float(number), [tcp(sent=100, arrived=100)])
        assert len(link.known.marks) == MARKS
        last_s = 3.0 * MARKS
        seen = link.look(last_s, [tcp(sent=108, arrived=108)])
        assert seen.arrived_after_s == last_s - 1.0
        assert len(seen.marks) == 1


class TestAConnectionWithoutSockets:
    def test_is_noticed_after_some_looks(self, link: Link) -> None:
        for number in range(BLIND_LOOKS - 1):
            assert not link.look(float(number), []).unseen
        assert link.look(9.0, []).unseen

    @pytest.mark.parametrize("sockets", [None, [tcp(peer="198.51.100.99")]])
    def test_so_is_one_that_the_kernel_does_not_tell_of(
        self, link: Link, sockets: list[Socket] | None
    ) -> None:
        for number in range(BLIND_LOOKS):
            link.look(float(number), sockets)
        assert link.known.unseen

    def test_one_that_is_seen_again_is_not(self, link: Link) -> None:
        for number in range(BLIND_LOOKS):
            link.look(float(number), None)
        assert not link.look(9.0, [tcp()]).unseen

    def test_a_resource_that_is_not_there_has_none_to_show(self, link: Link) -> None:
        for number in range(BLIND_LOOKS):
            link.look(float(number), None)
        after = followed(link.known, NotConfigured(9.0), PEER, acquits=False, now_s=9.0)
        assert after == Packets()


class TestTheLastPacket:
    """``lost`` is looked at at 10 s, and read a hundredth later."""

    def test_it_came_when_the_closed_sockets_say(self, link: Link) -> None:
        link.look(8.0, [tcp(1), tcp(2)])
        closed = [tcp(1, receives=False, heard_s=7.5), tcp(2, receives=False, heard_s=8.2)]
        assert link.look(10.0, closed, connected=False).last_at_s == 8.2

    def test_it_does_not_come_later_than_the_look(self, link: Link) -> None:
        link.look(8.0, [tcp(1)])
        closed = [tcp(1, receives=False, heard_s=11.0)]
        assert link.look(10.0, closed, connected=False).last_at_s == 10.01

    def test_while_a_socket_is_open_more_may_come(self, link: Link) -> None:
        link.look(8.0, [tcp(1), tcp(2)])
        open_ = [tcp(1, receives=False, heard_s=7.5), tcp(2, heard_s=8.2)]
        assert link.look(10.0, open_, connected=False).last_at_s == 10.01
        assert link.look(11.0, open_, connected=False).last_at_s == 11.01
        closed = [tcp(1, receives=False, heard_s=7.5), tcp(2, receives=False, heard_s=11.3)]
        assert link.look(12.0, closed, connected=False).last_at_s == 11.3

    def test_a_socket_that_has_vanished_may_have_received_until_now(self, link: Link) -> None:
        link.look(8.0, [tcp(1), tcp(2)])
        rest = [tcp(1, receives=False, heard_s=7.5)]
        assert link.look(10.0, rest, connected=False).last_at_s == 10.01

    def test_what_was_counted_stays_as_closed_ones_vanish(self, link: Link) -> None:
        link.look(8.0, [tcp(1)])
        link.look(10.0, [tcp(1, receives=False, heard_s=7.5)], connected=False)
        assert link.look(60.0, [], connected=False).last_at_s == 7.5

    def test_a_socket_that_came_and_was_closed_meanwhile_counts(self, link: Link) -> None:
        """A try to connect."""
        link.look(8.0, [tcp(1)])
        link.look(10.0, [tcp(1, receives=False, heard_s=7.5)], connected=False)
        later = [tcp(3, receives=False, heard_s=11.5)]
        assert link.look(12.0, later, connected=False).last_at_s == 11.5

    def test_a_run_that_begins_with_a_lost_link_counts_from_now(self, link: Link) -> None:
        closed = [tcp(1, receives=False, heard_s=7.5)]
        assert link.look(10.0, closed, connected=False).last_at_s == 10.01
        assert link.look(11.0, closed, connected=False).last_at_s == 10.01

    def test_so_does_one_that_missed_something(self, link: Link) -> None:
        link.look(8.0, [tcp(1)])
        link.known = link.known.interrupted()
        closed = [tcp(1, receives=False, heard_s=7.5)]
        assert link.look(10.0, closed, connected=False).last_at_s == 10.01

    def test_it_is_not_known_without_tcp(self, link: Link) -> None:
        link.look(8.0, [tcp(1)])
        assert link.look(10.0, None, connected=False).last_at_s is None

    def test_nor_while_connected(self, link: Link) -> None:
        link.look(8.0, [tcp(1)])
        link.look(10.0, [tcp(1, receives=False, heard_s=7.5)], connected=False)
        assert link.look(12.0, [tcp(2)]).last_at_s is None
