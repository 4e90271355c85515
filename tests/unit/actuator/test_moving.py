"""What an effect of a migration asks of this host's port, and what becomes of the guest."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

import pytest

from tandem_actuator.core import effects as fx
from tandem_actuator.core.guest.domain_xml import DomainSettings
from tandem_actuator.core.migration import receiving
from tandem_actuator.core.model import Job, JobState, MigrationNote, Receiving
from tandem_actuator.ports import CommandFailed, CommandTimeout, PortError
from tandem_actuator.ports.migration import Arrival, Destination, Migrations, NoMigrations
from tandem_actuator.run.driver import Driver
from tandem_api.vocabulary import DomainState, Role
from unit.builders import HERE, THERE, authority, drbd, mirror, record

from .noted import Noted

A, B = HERE.node, THERE.node
SEND = fx.SendGuest("m1")
BEGUN = fx.Done()


class Port:
    """Notes what it is asked. ``fails``: with these words."""

    port = 7790

    def __init__(self) -> None:
        self.calls: list[object] = []
        self.fails = ""
        self.go_on = asyncio.Event()

    async def _asked(self, what: object) -> None:
        self.calls.append(what)
        if self.fails:
            raise CommandFailed(self.fails)

    async def receive(self, arrival: Arrival) -> None:
        await self._asked(arrival)

    async def stop_receiving(self, name: str) -> None:
        await self._asked(f"stop receiving {name}")

    async def send(self, name: str, migration: str, to: Destination) -> None:
        await self.go_on.wait()
        await self._asked((name, migration, to))

    async def stop_sending(self, name: str) -> None:
        await self._asked(f"stop sending {name}")


def raising(error: PortError) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


class Host(Noted):
    """A, with a port for migrations."""

    def __init__(self) -> None:
        super().__init__()
        self.port = Port()
        self.served_by(cast(Any, self.port))
        self.node.migration_ends = {B: ("198.51.100.12", 7790)}

    def served_by(self, port: Migrations) -> None:
        self.ports = replace(self.ports, migrations=port)
        settings = DomainSettings(kvm=True, serial_dir="/tmp")
        self.driver = Driver(self.ports, self.node, settings, lambda unit: "text")
        self.driver.on_starting = lambda: self._note("guard")

    async def does(self, effect: fx.Effect) -> fx.Outcome:
        return await self.driver.perform(self.unit, effect)


@pytest.fixture
def host() -> Host:
    return Host()


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class TestSend:
    async def test_it_goes_on_beside_whoever_asked(self, host: Host) -> None:
        assert await host.does(SEND) == BEGUN
        began_s = host.clock.now_s
        assert host.unit.transit.job == Job("m1", began_s)
        host.unit.wake.clear()
        host.port.go_on.set()
        await settled()
        assert host.port.calls == [("ns.g", "m1", Destination(B, "198.51.100.12", 7790))]
        assert host.unit.transit.job == Job("m1", began_s, host.clock.now_s, JobState.SUCCEEDED)
        assert host.unit.wake.is_set()

    async def test_it_fails_in_libvirts_words(self, host: Host) -> None:
        host.port.fails = "no such CPU"
        host.port.go_on.set()
        assert await host.does(SEND) == BEGUN
        await settled()
        job = host.unit.transit.job
        assert job is not None
        assert (job.state, job.why) == (JobState.FAILED, "no such CPU")

    async def test_a_peer_that_takes_none_in_fails_it_before_anything_is_begun(
        self, host: Host
    ) -> None:
        host.node.migration_ends = {}
        assert await host.does(SEND) == fx.Failed(f"{B} takes no guests in")
        assert host.unit.transit.job is None

    async def test_a_host_without_a_guests_object_sends_nothing(self, host: Host) -> None:
        host.unit.guest = None
        assert await host.does(SEND) == fx.Failed("the guest is not in the API")
        assert host.unit.transit.job is None

    async def test_it_is_given_up_through_the_port(self, host: Host) -> None:
        assert await host.does(fx.StopSending("too late")) == BEGUN
        assert host.port.calls == ["stop sending ns.g"]

    async def test_who_gives_it_up_says_why_and_libvirt_does_not(self, host: Host) -> None:
        assert await host.does(SEND) == BEGUN
        for why in ("too late", "not wanted"):
            assert await host.does(fx.StopSending(why)) == BEGUN
        host.port.fails = "canceled by client"
        host.port.go_on.set()
        await settled()
        job = host.unit.transit.job
        assert job is not None
        assert (job.state, job.why) == (JobState.FAILED, "too late")


class TestReceive:
    async def test_it_is_let_in_as_this_host_would_start_it(self, host: Host) -> None:
        assert await host.does(fx.ReceiveGuest("m1")) == BEGUN
        (arrival,) = host.port.calls
        assert isinstance(arrival, Arrival)
        assert (arrival.name, arrival.migration, arrival.peer) == ("ns.g", "m1", B)
        assert "<name>ns.g</name>" in arrival.xml
        assert host.unit.transit.receiving == Receiving("m1", host.clock.now_s)

    async def test_a_port_that_cannot_leaves_nothing_ready(self, host: Host) -> None:
        host.port.fails = "no folder"
        assert await host.does(fx.ReceiveGuest("m1")) == fx.Failed("no folder")
        assert host.unit.transit.receiving is None

    async def test_nothing_is_taken_in_any_more(self, host: Host) -> None:
        assert await host.does(fx.StopReceiving()) == BEGUN
        assert host.port.calls == ["stop receiving ns.g"]

    async def test_a_host_where_it_is_not_set_up_says_so(self, host: Host) -> None:
        host.served_by(NoMigrations())
        said = fx.Failed("live migration is not set up on this host")
        assert await host.does(fx.ReceiveGuest("m1")) == said
        for effect in (fx.StopSending("too late"), fx.StopReceiving()):
            assert await host.does(effect) == BEGUN


class TestResume:
    async def test_the_guard_knows_before_it_goes_on(self, host: Host) -> None:
        host.unit.observe_domain(DomainState.PAUSED)
        assert await host.does(fx.ResumeGuest(host.clock.now_s)) == BEGUN
        assert host.calls == ["guard", "resume"]
        assert host.unit.domain is DomainState.RUNNING
        assert not host.unit.starting

    async def test_it_is_refused_as_a_start_would_be(self, host: Host) -> None:
        """The heartbeat has lapsed since."""
        host.unit.observe_domain(DomainState.PAUSED)
        host.clock.now_s += 60.0
        outcome = await host.does(fx.ResumeGuest(host.clock.now_s))
        assert isinstance(outcome, fx.Failed)
        assert host.calls == []

    async def test_a_failure_leaves_it_standing_still(self, host: Host) -> None:
        host.unit.observe_domain(DomainState.PAUSED)
        host.during["resume"] = raising(CommandFailed("QEMU is gone"))
        outcome = await host.does(fx.ResumeGuest(host.clock.now_s))
        assert isinstance(outcome, fx.Failed)
        assert "QEMU is gone" in outcome.message
        assert host.unit.domain is DomainState.PAUSED
        assert not host.unit.starting

    async def test_one_that_was_not_answered_may_yet_come_to_something(self, host: Host) -> None:
        """libvirt has it, and may let the guest go on at any time. A start in doubt counts."""
        note = MigrationNote("m1", str(HERE), 900.0)
        host.at = mirror(authority(A, handed_over="m1"))
        host.unit.mirror, host.unit.record = host.at, record(owned_epoch=5, incoming=note)
        host.unit.observe_domain(DomainState.PAUSED)
        host.during["resume"] = raising(CommandTimeout("libvirt did not answer within 5 s"))
        assert not host.unit.view(host.node).guest_may_run
        procedure = receiving.resume(host.unit.view(host.node), note)
        effect = next(procedure)
        with suppress(StopIteration):
            while True:
                effect = procedure.send(await host.does(effect))
        assert host.calls[-2:] == ["guard", "resume"]
        host.unit.observe_domain(DomainState.PAUSED)
        assert host.unit.view(host.node).guest_may_run


async def test_what_is_none_of_a_migrations_is_left_to_others(host: Host) -> None:
    assert not await host.driver.moving.act(host.unit, fx.Demote())
    assert host.port.calls == []


class TestDemote:
    NOTE = MigrationNote("m1", str(HERE), 900.0)
    BOTH = drbd(Role.PRIMARY, peer_role=Role.PRIMARY)

    async def test_not_where_the_target_would_take_it_for_the_handover(self, host: Host) -> None:
        """As of a guest that is fenced while it is being sent."""
        host.unit.record, host.unit.drbd = record(outgoing=self.NOTE), self.BOTH
        outcome = await host.does(fx.Demote())
        assert isinstance(outcome, fx.Failed)
        assert outcome.message == f"not before {B} is Secondary: it would let the guest go on"
        assert "demote" not in host.calls

    @pytest.mark.parametrize("note", [None, replace(NOTE, gone=True)], ids=["none", "sent"])
    async def test_else_it_is_done(self, host: Host, note: MigrationNote | None) -> None:
        host.unit.record, host.unit.drbd = record(outgoing=note), self.BOTH
        assert await host.does(fx.Demote()) == fx.Done()
        assert "demote" in host.calls
