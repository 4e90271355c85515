"""The libvirt adapter under random faults: what it says of a guest is so.

Each seed is a machine with a few guests, on which everything happens at any moment: libvirtd comes
and goes, hangs and refuses, guests end or are held by a disk, numbers of processes are used again,
the program stands still or is killed. At the end of each call the true state is looked at.
"""

import random

import pytest

from sim.libvirt.processes import Process
from tandem_actuator.ports import PortError
from tandem_actuator.ports.libvirt import KilledNotGone

from .libvirt_scene import Scene

SEEDS = 150
STEPS = 60
GUESTS = ("a", "b", "c")
CALLS = ("open", "active_domains", "metadata", "create", "lookup", "destroy", "on_lifecycle")


class Play:
    """One seed. ``wrong``: what was said and was not so."""

    def __init__(self, seed: int) -> None:
        self.scene, self.chance = Scene(seed), random.Random(seed)
        self.scene.daemon.event_s, self.scene.daemon.loses_events = (0.0, 3.0), 0.2
        self.scene.daemon.start_s = (0.1, 1.0)
        self.destroyed: set[str] = set()
        self.wrong: list[str] = []
        self.answers = {"states": 0, "destroyed": 0, "killed": 0, "started": 0}

    def play(self) -> None:
        self.scene.follow()
        for _ in range(STEPS):
            self.chance.choice((self.act, self.act, self.act, self.fault))()
            self.scene.pass_s(self.chance.choice((0.0, 0.002, 0.05, 0.4, 3.0)))
            for domain in self.scene.processes.signals:
                if domain not in self.destroyed:
                    self.wrong.append(f"{domain} was killed, and nobody had said so")
        self.scene.kernel.resume(self.scene.program)
        self.scene.daemon.mend()
        for guest in self.scene.guests:
            guest.stuck = False
        self.scene.pass_s(120.0)
        if self.scene.processes.handles:
            self.wrong.append("handles are left open")

    # --- what the program does

    def act(self) -> None:
        name = self.chance.choice(GUESTS)
        every = (self.start(name), self.destroy(f"ns.{name}"), self.look())
        chosen = self.chance.choice(every)
        for other in every:
            if other is not chosen:
                other.close()
        self.scene.enter(chosen)

    def there(self, domain: str = "") -> set[Process]:
        every = self.scene.processes.by_pid.values()
        return {one for one in every if domain in ("", one.domain)}

    async def start(self, name: str) -> None:
        if self.there(f"ns.{name}"):  # as the actuator, which starts what is absent
            return
        try:
            await self.scene.starts(name)
            self.answers["started"] += 1
        except PortError:
            return

    async def destroy(self, domain: str) -> None:
        self.destroyed.add(domain)
        before = self.there(domain)
        try:
            await self.scene.host.destroy(domain)
            self.answers["destroyed"] += 1
            if left := before & self.there(domain):
                self.wrong.append(f"{domain} is destroyed, and there: {left}")
        except KilledNotGone:
            self.answers["killed"] += 1
            if any(one.begun and one.guest.executing for one in before & self.there(domain)):
                self.wrong.append(f"{domain} is said to be killed, and executes")
        except PortError:
            return

    async def look(self) -> None:
        before = self.there()
        try:
            states = await self.scene.host.states()
        except PortError:
            return
        self.answers["states"] += 1
        absent = {one.domain for one in before & self.there()} - set(states)
        if absent:
            self.wrong.append(f"{absent} are said to be absent")

    # --- what happens to it

    def fault(self) -> None:
        self.chance.choice(
            (
                self.libvirtd,
                self.calls,
                self.guest,
                self.proc,
                self.pause,
                self.crash,
                self.scene.daemon.mend,
            )
        )()

    def libvirtd(self) -> None:
        daemon = self.scene.daemon
        daemon.loses_sight_of = set(self.chance.sample(["ns.a", "ns.b", "ns.c"], 1))
        what = self.chance.choice(("ready", "hanging", "refuses_to_start"))
        setattr(daemon, what, not getattr(daemon, what))

    def calls(self) -> None:
        call = self.chance.choice(CALLS)
        if self.chance.random() < 0.5:
            self.scene.daemon.answer(call)
        else:
            self.scene.daemon.stuck_calls.add(call)

    def guest(self) -> None:
        if not self.scene.guests:
            return
        guest = self.chance.choice(self.scene.guests)
        if self.chance.random() < 0.5:
            guest.stuck = not guest.stuck
        else:
            guest.end("by itself")

    def proc(self) -> None:
        table = self.scene.processes
        what = self.chance.choice(("hangs", "no_handles", "unkillable", "look_s"))
        if what == "look_s":
            table.look_s = self.chance.choice(((0.0005, 0.005), (0.1, 0.8)))
        else:
            setattr(table, what, not getattr(table, what))

    def pause(self) -> None:
        kernel, program = self.scene.kernel, self.scene.program
        if program.paused:
            kernel.resume(program)
        else:
            kernel.pause(program)

    def crash(self) -> None:
        self.scene.crash()
        self.scene.follow()


def played(seed: int) -> Play:
    play = Play(seed)
    play.play()
    return play


@pytest.mark.parametrize("first", range(0, SEEDS, 50))
def test_what_it_says_is_so(first: int) -> None:
    answers: dict[str, int] = {}
    for seed in range(first, first + 50):
        play = played(seed)
        assert play.wrong == [], f"seed {seed}"
        for what, count in play.answers.items():
            answers[what] = answers.get(what, 0) + count
    assert all(count > 0 for count in answers.values()), answers


def test_one_seed_gives_one_result() -> None:
    results = [(play.answers, play.scene.kernel.happened) for play in map(played, (7, 7))]
    assert results[0] == results[1]
