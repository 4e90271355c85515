"""The libvirt adapter's decisions, run as they are on a simulated libvirtd and its processes."""

import pytest

from tandem_actuator.adapters.libvirt.host import (
    ACTS_AT_A_TIME,
    KILL_TIMEOUT_S,
    LOOK_TIMEOUT_S,
    LOOKS_AT_A_TIME,
    RESUME_TIMEOUT_S,
    SCAN_TIMEOUT_S,
    SHUTDOWN_TIMEOUT_S,
    START_TIMEOUT_S,
)
from tandem_actuator.ports import CommandFailed, CommandTimeout, PortError
from tandem_api.vocabulary import DomainState

from .libvirt_scene import FOREIGN, Scene

SOON_S = 0.5


@pytest.fixture
def scene() -> Scene:
    return Scene()


class TestStates:
    def test_a_guest_runs(self, scene: Scene) -> None:
        scene.start("a")
        assert scene.states() == {"ns.a": DomainState.RUNNING}

    def test_what_others_run_is_of_no_interest(self, scene: Scene) -> None:
        scene.launch(FOREIGN.format(name="theirs"))
        assert scene.states() == {}

    def test_a_qemu_that_libvirt_lost_sight_of_is_unknown(self, scene: Scene) -> None:
        scene.start("a")
        scene.daemon.loses_sight_of = {"ns.a"}
        scene.daemon.ready = False
        scene.daemon.ready = True
        assert scene.states() == {"ns.a": DomainState.UNKNOWN}

    def test_one_that_ends_between_the_two_looks_is_unknown(self, scene: Scene) -> None:
        guest = scene.start("a")
        looking = scene.begin(scene.host.states())
        while scene.processes.looks_answered == 0:
            scene.pass_s(0.001)
        guest.end("by itself")
        scene.processes.bury()
        scene.daemon.forget("ns.a")
        while not looking.done:
            scene.pass_s(0.001)
        assert looking.result() == {"ns.a": DomainState.UNKNOWN}

    def test_one_that_ends_while_its_metadata_are_asked_for_is_no_error(self, scene: Scene) -> None:
        guest = scene.start("a")
        scene.daemon.answers_late_s["active_domains"] = 1.0
        looking = scene.begin(scene.host.states())
        scene.pass_s(0.5)
        guest.end("by itself")
        scene.pass_s(2.0)
        assert looking.result() == {"ns.a": DomainState.UNKNOWN}
        assert scene.states() == {}

    def test_what_is_ours_is_asked_for_each_start_anew(self, scene: Scene) -> None:
        """The uuid follows from the guest, so a domain made by hand may have it, too."""
        scene.launch(FOREIGN.format(name="ns.a"))
        assert scene.states() == {"ns.a": DomainState.UNKNOWN}
        scene.play(scene.host.destroy("ns.a"))
        scene.start("a")
        assert scene.states() == {"ns.a": DomainState.RUNNING}

    def test_what_is_ours_is_asked_once(self, scene: Scene) -> None:
        scene.start("a")
        scene.states()
        scene.daemon.stuck_calls = {"metadata"}
        assert scene.states() == {"ns.a": DomainState.RUNNING}

    def test_a_paused_domain_is_told_as_such(self, scene: Scene) -> None:
        scene.daemon.start_s = (4.0, 4.0)
        starting = scene.starting("a")
        scene.pass_s(3.0)
        assert scene.states() == {"ns.a": DomainState.PAUSED}
        scene.pass_s(2.0)
        assert starting.done

    def test_what_is_being_started_is_never_absent(self, scene: Scene) -> None:
        """Also if the start ends between the two looks, and its list was made before."""
        scene.start("b")
        scene.daemon.start_s = (0.5, 0.5)
        scene.daemon.answers_late_s["active_domains"] = 0.6
        starting = scene.starting("a")
        assert scene.states()["ns.a"] is DomainState.UNKNOWN
        assert starting.done

    def test_a_libvirtd_that_is_away_is_no_answer(self, scene: Scene) -> None:
        scene.start("a")
        scene.states()
        scene.daemon.ready = False
        with pytest.raises(CommandFailed, match="Connection refused"):
            scene.states()
        scene.daemon.ready = True
        assert scene.states() == {"ns.a": DomainState.RUNNING}

    def test_one_that_stands_still_is_given_up_on(self, scene: Scene) -> None:
        scene.start("a")
        scene.daemon.hanging = True
        with pytest.raises(CommandTimeout):
            scene.play(scene.host.states(), LOOK_TIMEOUT_S + SOON_S)

    def test_one_that_goes_on_answers_again(self, scene: Scene) -> None:
        scene.start("a")
        scene.daemon.hanging = True
        for _ in range(2 * LOOKS_AT_A_TIME):
            with pytest.raises(PortError):
                scene.states()
        scene.daemon.hanging = False
        assert scene.states() == {"ns.a": DomainState.RUNNING}

    def test_proc_that_does_not_answer_is_no_answer(self, scene: Scene) -> None:
        scene.start("a")
        scene.processes.hangs = True
        with pytest.raises(CommandTimeout, match="/proc"):
            scene.play(scene.host.states(), SCAN_TIMEOUT_S + SOON_S)

    def test_an_older_look_is_not_told_after_a_newer(self, scene: Scene) -> None:
        scene.start("a")
        scene.daemon.answers_late_s["active_domains"] = 1.0
        older = scene.begin(scene.host.states())
        scene.pass_s(0.1)
        scene.daemon.answers_late_s.clear()
        scene.play(scene.host.destroy("ns.a"))
        assert scene.states() == {}
        assert not older.done
        scene.pass_s(2.0)
        assert older.result() == {}

    def test_what_was_started_since_a_look_began_is_not_absent(self, scene: Scene) -> None:
        """libvirt's list was made before; its answer is on its way."""
        scene.daemon.start_s = (0.3, 0.3)
        scene.daemon.answers_late_s["active_domains"] = 1.5
        looking = scene.begin(scene.host.states())
        scene.pass_s(0.2)
        scene.start("a")
        assert not looking.done
        scene.pass_s(2.0)
        assert looking.result() == {"ns.a": DomainState.UNKNOWN}

    def test_two_looks_share_a_connection(self, scene: Scene) -> None:
        looks = [scene.begin(scene.host.states()) for _ in range(2)]
        scene.pass_s(1.0)
        assert all(look.done for look in looks)
        assert len(scene.daemon.connections) == 1

    def test_versions(self, scene: Scene) -> None:
        assert scene.play(scene.host.versions()) == {"libvirt": "9.0.0", "qemu": "7.2.0"}
        scene.daemon.stuck_calls = {"hypervisor_version"}
        unknown = {"libvirt": "unknown", "qemu": "unknown"}
        assert scene.play(scene.host.versions(), LOOK_TIMEOUT_S + SOON_S) == unknown


class TestHungCalls:
    def test_hung_starts_keep_no_look_from_being_answered(self, scene: Scene) -> None:
        """libvirtd serves five calls of a connection at a time."""
        scene.start("a")
        scene.daemon.stuck_calls = {"create"}
        for number in range(ACTS_AT_A_TIME):
            scene.starting(f"b{number}")
        scene.pass_s(1.0)
        assert scene.states()["ns.a"] is DomainState.RUNNING
        scene.play(scene.host.destroy("ns.a"), KILL_TIMEOUT_S)

    def test_hung_kills_keep_no_look_from_being_answered(self, scene: Scene) -> None:
        scene.start("a")
        for number in range(8):
            scene.start(f"b{number}")
        scene.daemon.stuck_calls = {"destroy"}
        killing = [scene.begin(scene.host.destroy(f"ns.b{number}")) for number in range(8)]
        scene.pass_s(10.0)
        assert all(one.done for one in killing)
        assert scene.states() == {"ns.a": DomainState.RUNNING}

    def test_hung_looks_keep_no_later_look_from_being_answered(self, scene: Scene) -> None:
        scene.start("a")
        scene.daemon.stuck_calls = {"active_domains"}
        for _ in range(LOOKS_AT_A_TIME):
            with pytest.raises(CommandTimeout):
                scene.states()
        scene.daemon.stuck_calls = set()  # those two hang on, new ones are answered
        scene.pass_s(60.0)
        assert scene.states() == {"ns.a": DomainState.RUNNING}

    def test_an_open_that_hangs_is_given_up_on(self, scene: Scene) -> None:
        scene.daemon.stuck_calls = {"open"}
        with pytest.raises(CommandTimeout):
            scene.states()
        scene.daemon.stuck_calls = set()
        scene.pass_s(60.0)
        assert scene.states() == {}

    def test_hung_scans_keep_no_later_scan_from_being_answered(self, scene: Scene) -> None:
        scene.start("a")
        scene.processes.hangs = True
        for _ in range(2):
            with pytest.raises(CommandTimeout):
                scene.states()
        scene.processes.hangs = False
        scene.pass_s(60.0)
        assert scene.states() == {"ns.a": DomainState.RUNNING}

    def test_what_hangs_for_days_costs_few_connections(self, scene: Scene) -> None:
        """Each look in vain would else leave a thread and two descriptors behind."""
        scene.daemon.stuck_calls = {"active_domains"}
        for _ in range(24 * 60):
            with pytest.raises(CommandTimeout):
                scene.states()
            scene.pass_s(60.0)
        assert 5 < len(scene.daemon.connections) < 60
        scene.daemon.mend()
        scene.pass_s(1.0)
        assert scene.states() == {}


class TestStart:
    def test_a_refused_start_can_be_tried_again(self, scene: Scene) -> None:
        scene.daemon.refuses_to_start = True
        with pytest.raises(CommandFailed, match="process exited"):
            scene.start("a")
        assert scene.states() == {}
        scene.daemon.refuses_to_start = False
        scene.start("a")

    def test_one_whose_disk_cannot_be_had_is_refused(self, scene: Scene) -> None:
        scene.refusing = "no such device"
        with pytest.raises(CommandFailed, match="no such device"):
            scene.start("a")
        assert scene.states() == {}

    def test_a_start_under_way_is_not_begun_again(self, scene: Scene) -> None:
        starting = scene.starting("a")
        with pytest.raises(CommandFailed, match="already"):
            scene.start("a")
        scene.pass_s(5.0)
        assert starting.done
        assert [guest.executing for guest in scene.guests] == [True]

    def test_a_start_without_an_answer_is_unknown_until_it_comes(self, scene: Scene) -> None:
        scene.daemon.stuck_calls = {"create"}
        with pytest.raises(CommandTimeout):
            scene.play(scene.starts("a"), START_TIMEOUT_S + SOON_S)
        assert scene.states() == {"ns.a": DomainState.UNKNOWN}
        with pytest.raises(CommandFailed, match="already"):
            scene.start("a")
        scene.daemon.mend()
        scene.pass_s(5.0)
        assert scene.states() == {"ns.a": DomainState.RUNNING}

    def test_a_late_refusal_ends_it(self, scene: Scene) -> None:
        scene.daemon.stuck_calls = {"create"}
        with pytest.raises(CommandTimeout):
            scene.start("a")
        scene.daemon.refuses_to_start = True
        scene.daemon.answer("create")
        scene.pass_s(5.0)
        assert scene.states() == {}

    def test_a_libvirtd_that_dies_in_a_start_leaves_what_it_launched(self, scene: Scene) -> None:
        scene.daemon.start_s = (4.0, 4.0)
        starting = scene.starting("a")
        scene.pass_s(3.0)
        scene.daemon.ready = False
        scene.pass_s(1.0)
        with pytest.raises(CommandFailed):
            starting.result()
        assert scene.has_qemu("ns.a")
        scene.daemon.ready = True
        scene.pass_s(1.0)
        assert scene.states() == {}

    def test_a_start_without_libvirtd_was_no_start(self, scene: Scene) -> None:
        scene.daemon.ready = False
        with pytest.raises(CommandFailed):
            scene.start("a")
        scene.daemon.ready = True
        assert scene.states() == {}
        scene.start("a")

    def test_a_start_that_never_had_its_turn_was_no_start(self, scene: Scene) -> None:
        """As in a mass takeover, when the starts before it take long."""
        scene.daemon.start_takes_s = START_TIMEOUT_S
        every = [scene.starting(f"a{number}") for number in range(ACTS_AT_A_TIME + 1)]
        scene.pass_s(3 * START_TIMEOUT_S)
        with pytest.raises(CommandTimeout):
            every[-1].result()
        assert f"ns.a{ACTS_AT_A_TIME}" not in scene.states()

    def test_a_start_that_was_withdrawn_is_not_made_later(self, scene: Scene) -> None:
        scene.daemon.stuck_calls = {"open"}
        with pytest.raises(CommandTimeout):
            scene.start("a")
        scene.daemon.answer("open")
        scene.pass_s(10.0)
        assert scene.runs() == {}
        assert scene.states() == {}
        scene.start("a")


class TestResume:
    def test_what_runs_may_be_told_so(self, scene: Scene) -> None:
        scene.start("a")
        scene.play(scene.host.resume("ns.a"))
        assert scene.states() == {"ns.a": DomainState.RUNNING}

    def test_who_is_not_there_cannot(self, scene: Scene) -> None:
        with pytest.raises(CommandFailed, match="Domain not found"):
            scene.play(scene.host.resume("ns.a"))

    def test_one_that_was_withdrawn_is_not_made_later(self, scene: Scene) -> None:
        """By then another host may have the guest."""
        scene.start("a")
        resumed: list[str] = []
        scene.daemon.active["ns.a"].process.guest.go_on = (  # type: ignore[method-assign]
            lambda: resumed.append("a")
        )
        scene.daemon.stuck_calls = {"lookup"}
        with pytest.raises(CommandTimeout):
            scene.play(scene.host.resume("ns.a"), RESUME_TIMEOUT_S + SOON_S)
        scene.daemon.answer("lookup")
        scene.pass_s(10.0)
        assert resumed == []


class TestShutdown:
    def test_a_guest_that_obeys_is_gone(self, scene: Scene) -> None:
        scene.start("a")
        scene.play(scene.host.shutdown("ns.a"))
        scene.pass_s(1.0)
        assert scene.states() == {}

    def test_who_is_not_there_cannot_be_asked(self, scene: Scene) -> None:
        with pytest.raises(CommandFailed, match="Domain not found"):
            scene.play(scene.host.shutdown("ns.a"))

    def test_a_question_that_hangs_is_given_up_on(self, scene: Scene) -> None:
        scene.start("a")
        scene.daemon.stuck_calls = {"shutdown"}
        with pytest.raises(CommandTimeout):
            scene.play(scene.host.shutdown("ns.a"), SHUTDOWN_TIMEOUT_S + SOON_S)
