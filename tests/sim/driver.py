"""Performs the actuator's effects on the simulated parts; each takes its time.

The counterpart of ``tandem_actuator.driver``: the same outcomes from other parts. After every
effect ``Crash`` may end the machine or the program, which is how a crash between any two effects is
tried. Called by ``actuator``.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace

from sim.api import Client
from sim.host import Machine
from sim.kernel import Command, Sleep
from tandem_actuator.core import effects as fx
from tandem_actuator.core.model import DomainState, Metadata
from tandem_actuator.core.record import updated
from tandem_actuator.core.run import may_lose_link, start_permission
from tandem_actuator.ports import ApiConflict, ApiGone, ApiUnavailable, KilledNotGone, PortError
from tandem_actuator.unit import NodeFacts, Unit
from tandem_api.mirror import Mirror
from tandem_api.timing import API_TIMEOUT_S
from tandem_scenario.scenario import ANY_EFFECT

FSYNC_S = (0.002, 0.01)
COMMAND_S = (0.03, 0.15)
QUERY_S = (0.002, 0.02)


@dataclass
class Awaited:
    """What is to be done after the ``left``-th effect of this name from now on."""

    effect: str
    left: int
    action: Callable[[], None]


@dataclass
class Crash:
    """Ends something right after a host's n-th effect; ``count`` goes on over restarts.

    ``awaited``: what else shall be done right after some effect.
    """

    after: int = -1
    action: Callable[[], None] = lambda: None
    count: int = 0
    seen: list[str] = field(default_factory=list)
    awaited: list[Awaited] = field(default_factory=list)

    def performed(self, effect: fx.Effect) -> bool:
        """Whether this was the one."""
        name = type(effect).__name__
        self.count += 1
        self.seen.append(name)
        due = [self.action] if self.count - 1 == self.after else []
        for awaited in self.awaited:
            awaited.left -= awaited.effect in (name, ANY_EFFECT)
        due += [awaited.action for awaited in self.awaited if not awaited.left]
        self.awaited = [awaited for awaited in self.awaited if awaited.left]
        for action in due:
            action()
        return bool(due)


Doing = Generator[Command, bool, fx.Outcome]


class Driver:
    """Runs procedures for the units of one actuator."""

    def __init__(self, machine: Machine, client: Client, node: NodeFacts, crash: Crash) -> None:
        self.machine, self.client, self.node, self.crash = machine, client, node, crash
        self.on_starting: Callable[[], None] = lambda: None
        self._requests = 0

    def run(self, unit: Unit, procedure: fx.Procedure) -> Generator[Command, bool, fx.Finished]:
        """Drive a procedure to its end."""
        try:
            effect = next(procedure)
            while True:
                outcome = yield from self.perform(unit, effect)
                if self.crash.performed(effect):
                    yield Sleep(0.0)
                effect = procedure.send(outcome)
        except StopIteration as end:
            finished = end.value
            assert isinstance(finished, fx.Finished)
            return finished
        finally:
            procedure.close()

    def perform(self, unit: Unit, effect: fx.Effect) -> Doing:
        """One effect."""
        api = self.client.api
        match effect:
            case fx.ReadMirror():
                return (yield from self._read_mirror(unit))
            case fx.ReadHeartbeat(host):
                try:
                    leases = api.server.leases
                    beat = yield from self.client.call(lambda: leases.get(host), API_TIMEOUT_S)
                except ApiUnavailable as error:
                    return fx.Unreachable(str(error))
                return fx.HeartbeatRead(beat)
            case fx.QueryDrbd():
                yield from self.query_drbd(unit)
                return fx.DrbdRead(unit.drbd, self.machine.boottime_s(), unit.link_lost_at_s)
            case fx.Swap():
                return (yield from self._swap(unit, effect))
            case fx.UpdateRecord():
                yield Sleep(self._takes(FSYNC_S))
                return self._update_record(unit, effect)
            case fx.Wait(seconds):
                yield Sleep(seconds)
                return fx.Done()
            case _:
                return (yield from self._act(unit, effect))

    def _takes(self, bounds_s: tuple[float, float]) -> float:
        return self.machine.kernel.between(*bounds_s)

    def query_drbd(self, unit: Unit) -> Generator[Command, bool, None]:
        """A fresh reading, stamped with the moment before it was asked for."""
        asked_at_s = self.machine.boottime_s()
        drbd = self.machine.replica_of(unit.mirror).view(asked_at_s)
        yield Sleep(self._takes(QUERY_S))
        unit.see_lapse(self.node, self.machine.boottime_s())
        unit.observe_drbd(drbd, self.machine.boottime_s(), self.machine.host.log.wall())

    def _read_mirror(self, unit: Unit) -> Doing:
        server, key, known = self.client.api.server, unit.mirror.key, unit.record
        try:
            mirror = yield from self.client.call(lambda: server.get(Mirror, key), API_TIMEOUT_S)
        except PortError as error:
            return fx.Unreachable(str(error))
        unit.observe_mirror(mirror)
        self._requests += 1
        return fx.MirrorRead(mirror, f"{self.node.instance}#{self._requests}", known)

    def _swap(self, unit: Unit, effect: fx.Swap) -> Doing:
        server, key, uid = self.client.api.server, unit.mirror.key, unit.record.uid
        affirms = unit.lapses_ended_by(effect.authority, self.node)

        def swap() -> Mirror:
            return server.swap_authority(key, uid, effect.expected_epoch, effect.authority)

        try:
            mirror = yield from self.client.call(swap, API_TIMEOUT_S, write=True)
        except ApiConflict:
            return fx.SwapLost()
        except (ApiUnavailable, ApiGone) as error:
            return fx.SwapUnclear(str(error))
        unit.observe_mirror(mirror)
        unit.affirmed = max(unit.affirmed, affirms)
        return fx.Swapped(mirror)

    def _update_record(self, unit: Unit, effect: fx.UpdateRecord) -> fx.Outcome:
        if not isinstance(effect.marker, fx.Keep):
            unit.was_behind = False
        unit.record = updated(unit.record, effect)
        self.machine.host.records.store(unit.mirror.drbd_name, unit.record)
        return fx.Done()

    def _act(self, unit: Unit, effect: fx.Effect) -> Doing:
        try:
            yield Sleep(self._takes(COMMAND_S))
            if isinstance(effect, fx.InspectMetadata):
                return self._metadata(unit)
            done = yield from self._act_on_drbd(unit, effect)
            if not done:
                yield from self._act_on_guest(unit, effect)
        except PortError as error:
            return fx.Failed(str(error))
        return fx.Done()

    def _metadata(self, unit: Unit) -> fx.Outcome:
        backings = self.machine.replica_of(unit.mirror).backings.values()
        present = {backing.has_metadata for backing in backings}
        if any(backing.broken for backing in backings) or len(present) != 1:
            return fx.MetadataRead(Metadata.UNKNOWN)
        return fx.MetadataRead(Metadata.PRESENT if present == {True} else Metadata.ABSENT)

    def _act_on_drbd(self, unit: Unit, effect: fx.Effect) -> Generator[Command, bool, bool]:
        replica = self.machine.replica_of(unit.mirror)
        match effect:
            case fx.Configure():
                pass
            case fx.CreateMetadata():
                for backing in replica.backings.values():
                    backing.create()
            case fx.Attach():
                replica.attach()
            case fx.Connect(discard_my_data):
                replica.connect(discard=discard_my_data)
            case fx.Disconnect(needs_heartbeat):
                sent_s, now_s = self.node.renewal_sent_at_s, self.machine.boottime_s()
                if needs_heartbeat and not may_lose_link(unit.view(self.node), sent_s, now_s):
                    raise PortError("the guest lives on the link alone")
                replica.disconnect()
            case fx.SkipFirstSync(volumes):
                self.machine.host.pairs[unit.mirror.drbd_name].skip_first_sync(replica, volumes)
            case fx.Promote(force):
                yield from self._promote(unit, force=force)
            case fx.Demote():
                self.machine.libvirt.bury()
                replica.demote()
            case fx.ResumeIo():
                replica.resume_io()
            case _:
                return False
        return True

    def _promote(self, unit: Unit, *, force: bool) -> Generator[Command, bool, None]:
        unit.promoting = True
        try:
            yield from self.machine.replica_of(unit.mirror).promote(force=force)
        finally:
            unit.promoting = False

    def _act_on_guest(self, unit: Unit, effect: fx.Effect) -> Generator[Command, bool, None]:
        guest, libvirt = unit.guest, self.machine.libvirt
        if guest is None:
            raise PortError("the guest is not in the API")
        name = str(guest.key)
        match effect:
            case fx.StartGuest(claimed_at_s):
                yield from self._start(unit, claimed_at_s)
            case fx.ShutDownGuest():
                libvirt.shutdown(name)
                unit.shutdown_sent_at_s = self.machine.boottime_s()
            case fx.DestroyGuest():
                try:
                    yield from libvirt.destroy(name)
                except KilledNotGone:
                    if unit.fence is not None:
                        unit.fence = replace(unit.fence, killed=True)
                    raise
                unit.observe_domain(libvirt.states().get(name, DomainState.ABSENT))
            case fx.CutNetwork():
                libvirt.cut_network(name)
            case _:
                raise AssertionError(f"no action for {effect}")

    def _start(self, unit: Unit, claimed_at_s: float) -> Generator[Command, bool, None]:
        assert unit.guest is not None
        sent_s, steady_s = self.node.renewal_sent_at_s, self.node.steady_since_s
        now_s = self.machine.boottime_s()
        view = unit.view(self.node)
        permission = start_permission(view, sent_s, steady_s, claimed_at_s, now_s)
        if not permission.allowed:
            raise PortError(f"not starting: {permission.message}")
        unit.starting = True
        self.on_starting()
        try:
            yield from self.machine.libvirt.start(unit.guest, unit.mirror)
            unit.observe_domain(DomainState.RUNNING)
        finally:
            unit.starting = False
