"""Single calls on the simulated way to the API: when they are answered, and what is lost."""

import pytest

from sim.apiserver import NO_ANSWER, NO_CONNECTION, Refusal
from sim.engine.kernel import Group
from sim.network.links import IN, MANAGEMENT, OUT
from tandem_kube import Forbidden, KubeClient, KubeError, Unavailable
from unit.builders import A, B

from .api_bench import Bench
from .test_ways_to_the_api import TIMEOUT_S, read, write


class TestCalls:
    def test_an_answer_comes_after_two_trips(self, bench: Bench) -> None:
        assert bench.ask(A, read(bench), 0.05)["metadata"]["name"] == "m"

    def test_a_slow_way_is_waited_for_no_longer_than_the_timeout(self, bench: Bench) -> None:
        bench.network.slow_way_s[A, IN] = 2.0
        assert isinstance(bench.ask(A, write(bench, "X"), TIMEOUT_S + 0.1), Unavailable)
        assert bench.phase == "X", "and it was carried out"

    def test_a_request_that_is_late_lands_although_its_sender_gave_up(self, bench: Bench) -> None:
        bench.network.slow_way_s[A, OUT] = 2.0
        assert isinstance(bench.ask(A, write(bench, "X"), 1.5), Unavailable)
        assert bench.phase == ""
        bench.run(1.0)
        assert bench.phase == "X"

    def test_it_does_not_land_if_the_machine_has_died_meanwhile(self, bench: Bench) -> None:
        bench.network.slow_way_s[A, OUT] = 2.0
        bench.ask(A, write(bench, "X"), 1.5)
        bench.groups[A].stop()
        bench.run(1.0)
        assert bench.phase == ""

    def test_what_was_sent_lands_although_its_program_is_paused(self, bench: Bench) -> None:
        async def main(client: KubeClient) -> None:
            await write(bench, "X")(client)

        group = bench.start(A, main)
        bench.run(0.0)
        bench.kernel.pause(group)
        bench.run(1.0)
        assert bench.phase == "X"

    def test_of_a_cut_way_some_writes_are_kept_and_land_when_it_heals(self) -> None:
        landed = set()
        for seed in range(12):
            bench = Bench(seed)
            bench.network.cut(MANAGEMENT, A)
            assert isinstance(bench.ask(A, write(bench, "X"), 5.0), Unavailable)
            assert bench.phase == ""
            bench.network.heal(MANAGEMENT)
            bench.run(5.0)
            landed.add(bench.phase)
        assert landed == {"", "X"}

    def test_with_one_direction_cut_a_write_lands_and_nobody_hears(self, bench: Bench) -> None:
        bench.network.cut(MANAGEMENT, A, IN)
        assert isinstance(bench.ask(A, write(bench, "X"), 5.0), Unavailable)
        assert bench.phase == "X"

    def test_with_the_other_one_cut_nothing_gets_there(self, bench: Bench) -> None:
        bench.network.cut(MANAGEMENT, A, OUT)
        assert isinstance(bench.ask(A, write(bench, "X"), 5.0), Unavailable)
        assert bench.phase == ""

    def test_without_a_connection_one_direction_is_not_enough(self, bench: Bench) -> None:
        bench.network.cut(MANAGEMENT, A, IN)

        async def twice(client: KubeClient) -> None:
            for phase in "XY":
                with pytest.raises(Unavailable):
                    await write(bench, phase)(client)

        bench.start(A, twice)
        assert bench.run(5.0) == []
        assert bench.phase == "X"

    def test_a_server_that_is_down_says_nothing(self, bench: Bench) -> None:
        bench.api.set_up(False)
        assert bench.ask(A, read(bench), TIMEOUT_S - 0.1) is None
        bench.api.set_up(True)
        assert bench.ask(B, read(bench), 0.1)["metadata"]["name"] == "m"

    def test_one_whose_machine_lives_refuses_at_once(self, bench: Bench) -> None:
        bench.api.set_up(False, told=True)
        assert isinstance(bench.ask(A, read(bench), 0.1), Unavailable)

    @pytest.mark.parametrize(
        ("code", "error"), [(429, Unavailable), (500, Unavailable), (403, Forbidden)]
    )
    @pytest.mark.parametrize("after", [False, True], ids=["not done", "done"])
    def test_a_refusal(self, bench: Bench, code: int, error: type[KubeError], after: bool) -> None:
        bench.api.refusals.append(Refusal(code, host=A, after=after))
        assert isinstance(bench.ask(A, write(bench, "X"), 0.1), error)
        assert bench.phase == ("X" if after else "")
        assert bench.ask(B, read(bench), 0.1)["metadata"]["name"] == "m"

    def test_an_answer_that_is_lost(self, bench: Bench) -> None:
        bench.api.refusals.append(Refusal(NO_ANSWER, after=True))
        assert isinstance(bench.ask(A, write(bench, "X"), 5.0), Unavailable)
        assert bench.phase == "X"

    def test_a_connection_that_is_reset(self, bench: Bench) -> None:
        bench.api.refusals.append(Refusal(NO_CONNECTION))
        assert isinstance(bench.ask(A, write(bench, "X"), 0.1), Unavailable)
        assert bench.phase == ""

    def test_a_restart_resets_what_is_under_way(self, bench: Bench) -> None:
        bench.network.slow_way_s[A, IN] = 0.5
        bench.kernel.after(0.2, Group("outside"), bench.api.break_all)
        assert isinstance(bench.ask(A, write(bench, "X"), 0.9), Unavailable)
        assert bench.phase == "X"
