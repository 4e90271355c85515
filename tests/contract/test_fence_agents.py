"""The port to fence agents: what the simulated one does, a program does as well."""

import ast
import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, cast

import pytest

from sim.engine.kernel import Group, Kernel
from sim.host.fence_agent import Agents, ail
from tandem_controller.edge.fence_agents import FenceAgentPrograms
from tandem_controller.ports import AgentCall, AgentError, AgentFailed, AgentHung, PowerState

DIRECTORY = Path(__file__).parent / "agents"
SECRET = "correct horse"


class Place(Protocol):
    """One agent and a machine that it can switch, which is on."""

    agents: Any

    def call(self, timeout_s: float = 5.0, plug: str = "one") -> AgentCall: ...
    def ail(self, how: str) -> None: ...


class Machine:
    """As far as an outlet knows it."""

    name = "one"
    machine: object | None = object()

    def power_off(self, why: str) -> None:
        self.machine = None

    def power_on(self) -> None:
        self.machine = object()


class Simulated:
    """Its times are those of the test's own loop."""

    def __init__(self) -> None:
        kernel, machine = Kernel("agents"), Machine()
        hosts = [cast(Any, machine)]
        kernel.after = lambda after_s, group, act: act()  # type: ignore[method-assign,assignment]
        group = Group("outside")
        self.agents = Agents(
            kernel, group, hosts, lambda host: machine.power_on(), lambda host: None
        )

    def call(self, timeout_s: float = 5.0, plug: str = "one") -> AgentCall:
        return AgentCall("fence_test", {"plug": plug}, {"password": SECRET}, timeout_s)

    def ail(self, how: str) -> None:
        ail(self.agents.outlets["one"], how)


class Program:
    def __init__(self, path: Path) -> None:
        self.agents, self.path = FenceAgentPrograms(DIRECTORY), path
        self.file("power").write_text("on")

    def file(self, what: str) -> Path:
        return self.path / f"one.{what}"

    def call(self, timeout_s: float = 5.0, plug: str = "one") -> AgentCall:
        given = {"plug": plug, "directory": str(self.path)}
        return AgentCall("fence_test", given, {"password": SECRET}, timeout_s)

    def ail(self, how: str) -> None:
        words = {"hangs": "hang", "refuses": "refuse", "bounces": "bounce"}
        self.file("ails").write_text(words.get(how, how))


@pytest.fixture(params=["simulated", "program"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    yield Simulated() if request.param == "simulated" else Program(tmp_path)


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


class TestBoth:
    async def test_what_is_on_is_on_until_it_is_switched_off(self, place: Place) -> None:
        assert await place.agents.status(place.call()) is PowerState.ON
        await place.agents.off(place.call())
        assert await place.agents.status(place.call()) is PowerState.OFF

    async def test_what_is_off_can_be_switched_off_again(self, place: Place) -> None:
        for _ in range(2):
            await place.agents.off(place.call())
        assert await place.agents.status(place.call()) is PowerState.OFF

    async def test_one_that_hangs_is_given_up_in_time(self, place: Place) -> None:
        place.ail("hangs")
        began_s = time.monotonic()
        for ask in (place.agents.off, place.agents.status):
            with pytest.raises(AgentHung, match="did not end within 1 s"):
                await ask(place.call(1.0))
        assert time.monotonic() - began_s < 10

    async def test_one_that_is_refused_says_so_without_the_secret(self, place: Place) -> None:
        place.ail("refuses")
        for ask in (place.agents.off, place.agents.status):
            with pytest.raises(AgentFailed, match="Unable to connect/login") as caught:
                await ask(place.call())
            assert SECRET not in str(caught.value)

    async def test_what_comes_on_again_is_on(self, place: Place) -> None:
        place.ail("bounces")
        await place.agents.off(place.call())
        assert await place.agents.status(place.call()) is PowerState.ON

    async def test_there_is_no_such_plug(self, place: Place) -> None:
        for ask in (place.agents.off, place.agents.status):
            with pytest.raises(AgentError):
                await ask(place.call(plug="other"))


class TestProgram:
    async def test_nobody_sees_what_it_was_given(self, program: Program) -> None:
        await program.agents.status(program.call())
        argv, environ = ast.literal_eval(program.file("seen").read_text())
        assert len(argv) == 1
        assert SECRET not in str(environ)
        assert "KUBERNETES_SERVICE_HOST" not in environ and "HOME" in environ

    async def test_bad_parameters_are_not_taken_for_off(self, program: Program) -> None:
        """They end with 2, as what is off does."""
        program.ail("usage")
        with pytest.raises(AgentFailed, match="ended with 2: Parse error"):
            await program.agents.status(program.call())

    async def test_nothing_is_left_of_one_that_hangs(self, program: Program) -> None:
        program.ail("hangs")
        with pytest.raises(AgentHung):
            await program.agents.off(program.call(1.0))
        await self.is_gone(program)

    async def test_nothing_is_left_of_one_that_was_cancelled(self, program: Program) -> None:
        program.ail("hangs")
        asked = asyncio.create_task(program.agents.off(program.call(30.0)))
        for _ in range(1000):
            if self.begun(program):
                break
            await asyncio.sleep(0.01)
        asked.cancel()
        await asyncio.wait([asked])
        assert asked.cancelled()
        await self.is_gone(program)

    async def is_gone(self, program: Program) -> None:
        child = int(program.file("child").read_text())
        for _ in range(200):
            if self.is_zombie(child):
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"{child} goes on")

    def begun(self, program: Program) -> bool:
        return program.file("child").exists() and bool(program.file("child").read_text())

    def is_zombie(self, pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            return True

    @pytest.mark.parametrize("name", ["../agents/fence_test", "fence_none", "sh", "fence_"])
    async def test_only_an_agent_is_begun(self, program: Program, name: str) -> None:
        call = AgentCall(name, program.call().parameters, {}, 5.0)
        with pytest.raises(AgentFailed):
            await program.agents.off(call)
        assert not program.file("seen").exists()

    @pytest.mark.parametrize(
        "odd", [{"action": "on"}, {"a b": "x"}, {"password": "x\naction=on"}, {"#x": "y"}]
    )
    async def test_what_a_secret_holds_is_not_read_as_more(
        self, program: Program, odd: dict[str, str]
    ) -> None:
        call = AgentCall("fence_test", program.call().parameters, odd, 5.0)
        with pytest.raises(AgentFailed):
            await program.agents.status(call)
        assert not program.file("seen").exists()

    def test_a_call_does_not_show_its_secrets(self, program: Program) -> None:
        assert SECRET not in repr(program.call())
