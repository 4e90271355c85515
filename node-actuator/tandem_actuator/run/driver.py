"""Performs effects on the real parts: the only place where a decision turns into an action.

It runs procedures (generators of effects) to their end, turns every failure of a port into an
outcome, and keeps the unit's cached object up to date with what a quorum read told. It decides
nothing, except to refuse a start while the run predicate is false. ``loop`` calls it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from tandem_actuator.core import effects as fx
from tandem_actuator.core.authority import held
from tandem_actuator.core.drbd import DrbdState, DrbdUnknown, DrbdView
from tandem_actuator.core.guest.domain_xml import DomainSettings, DomainXmlError, domain_name
from tandem_actuator.core.guest.domain_xml import render as render_domain
from tandem_actuator.core.host.permission import may_lose_link, start_permission
from tandem_actuator.core.wall import Place
from tandem_actuator.ports import CommandFailed, PortError
from tandem_actuator.ports.api import ApiConflict, ApiGone, ApiUnavailable
from tandem_actuator.ports.libvirt import KilledNotGone
from tandem_actuator.run.moving import Moving
from tandem_actuator.run.node import NodeFacts
from tandem_actuator.run.outside import Ports
from tandem_actuator.run.recording import Recording
from tandem_actuator.run.walls import Walls
from tandem_actuator.run.workload import Unit
from tandem_api.kinds.mirror import Protocol
from tandem_api.reasons import Reason
from tandem_api.vocabulary import DomainState

log = logging.getLogger(__name__)


class StartRefused(PortError):
    """libvirt does not start this guest here, or it cannot be described to it."""


APPLY_AGAIN_AFTER_S = 5.0
GIVES_UP = (Reason.RELEASED, Reason.IN_SYNC)
"""Swaps that win this host nothing, so that nothing of them has to be noted first."""
PROVEN_FOR_S = 2.0
"""So long one record that was stored speaks for other mirrors: many are claimed at once."""


class Driver:
    """Runs procedures for units."""

    def __init__(
        self,
        ports: Ports,
        node: NodeFacts,
        domain_settings: DomainSettings,
        resource_text: Callable[[Unit], str],
    ) -> None:
        self.ports = ports
        self.node = node
        self.domain_settings = domain_settings
        self.resource_text = resource_text
        self.walls = Walls(ports.clock)
        self.recording = Recording(ports)
        self.moving = Moving(ports, node, self._described)
        self.on_starting: Callable[[], None] = lambda: None
        self._proven_at_s = float("-inf")

    async def run(self, unit: Unit, procedure: fx.Procedure) -> fx.Finished:
        """Drive a procedure to its end."""
        try:
            effect = next(procedure)
            while True:
                outcome = await self.perform(unit, effect)
                if isinstance(outcome, fx.Failed | fx.SwapUnclear | fx.Unreachable):
                    self._warn(unit, str(effect), outcome.message)
                effect = procedure.send(outcome)
        except StopIteration as end:
            finished = end.value
            assert isinstance(finished, fx.Finished)
            return finished
        finally:
            procedure.close()

    async def fence(self, unit: Unit, procedure: fx.Procedure) -> fx.Finished:
        """Stop the guest, whatever of it fails by a bug: then each effect by itself, in its order.

        What could not be done is tried again by the guard, until the watchdog ends it all.
        """
        try:
            finished = await self.run(unit, procedure)
            self._warn(unit, finished.reason, finished.message)
            return finished
        except Exception as error:
            self.walls.met(unit, Place.TURN, error)
        for effect in (fx.CutNetwork(), fx.DestroyGuest(), fx.Demote()):
            with self.walls.around(unit, Place.FENCE):
                await self.perform(unit, effect)
        return fx.Finished(Reason.SELF_FENCING, unit.message, progress=True, failed=True)

    def _warn(self, unit: Unit, subject: str, words: str) -> None:
        """A fence is tried again for as long as it fails, and says so when that is news."""
        now_s = self.ports.clock.boottime_s()
        if unit.fence is None or unit.repeats.is_news(subject, words, now_s):
            log.warning("%s: %s: %s", unit.mirror.key, subject, words)

    async def perform(self, unit: Unit, effect: fx.Effect) -> fx.Outcome:  # noqa: PLR0911
        """One effect on the real parts."""
        match effect:
            case fx.ReadMirror():
                return await self._read_mirror(unit)
            case fx.ReadHeartbeat(host):
                try:
                    return fx.HeartbeatRead(await self.ports.api.read_heartbeat(host))
                except PortError as error:
                    return fx.Unreachable(str(error))
            case fx.QueryDrbd():
                await self.query_drbd(unit)
                now_s, last_s = self.ports.clock.boottime_s(), unit.packets.last_at_s
                return fx.DrbdRead(unit.drbd, now_s, unit.link_lost_at_s, last_s)
            case fx.QueryDomain():
                return await self._query_domain(unit)
            case fx.Swap():
                return await self._swap(unit, effect)
            case fx.UpdateRecord():
                return await self.recording.update(unit, effect)
            case fx.InspectMetadata() | fx.ReadGenerations():
                return await self._read_disks(unit, effect)
            case fx.Wait(seconds):
                await asyncio.sleep(seconds)
                return fx.Done()
            case _:
                return await self._act(unit, effect)

    async def query_drbd(self, unit: Unit) -> bool:
        """Take a fresh reading into the unit; True if it says something new. One that fails by a
        bug tells nothing: unknown permits nothing.
        """
        drbd: DrbdView = DrbdUnknown("the look at it failed by a bug in Tandem")
        with self.walls.around(unit, Place.LOOK):
            drbd = await self.ports.drbd.query(unit.mirror)
        clock = self.ports.clock
        unit.see_lapse(self.node, clock.boottime_s())
        with self.walls.around(unit, Place.TAKING_IN):
            unit.observe_packets(drbd, self.node, clock.boottime_s())
            return unit.observe_drbd(drbd, clock.boottime_s(), clock.wall())
        unit.drbd = DrbdUnknown("what was seen of it could not be taken in, by a bug in Tandem")
        return True

    async def note_protocol(self, unit: Unit) -> None:
        """Whether this replica may lack acknowledged writes, durably: a takeover may have to know
        after the next boot, when DRBD tells only what it will use.
        """
        drbd, written = unit.drbd, unit.mirror.spec.protocol
        if not isinstance(drbd, DrbdState) or held(unit.mirror, unit.record) is not None:
            return
        used = drbd.protocol or written
        if used is not Protocol.C:
            await self.recording.update(unit, fx.UpdateRecord(asynchronous=True))
        elif unit.record.asynchronous and drbd.protocol is Protocol.C and drbd.in_sync:
            await self.recording.update(unit, fx.UpdateRecord(asynchronous=False))

    async def apply(self, unit: Unit) -> None:
        """Bring the kernel in line with what is wanted, as far as that can be done in use.

        Once for each run too: the one before may have ended between writing and applying.
        """
        now_s = self.ports.clock.boottime_s()
        if not isinstance(unit.drbd, DrbdState) or now_s < unit.apply_not_before_s:
            return
        if held(unit.mirror, unit.record) is not None:
            return
        detection_s = self.node.detection_s
        try:
            text = self.resource_text(unit)
            if text == unit.applied:
                return
            unit.apply_not_before_s = now_s + APPLY_AGAIN_AFTER_S
            async with unit.file_lock:
                text = self.resource_text(unit)
                await self.ports.drbd.configure(unit.mirror, text)
                await self.ports.drbd.adjust(unit.mirror)
        except PortError as error:
            log.warning("%s: not applied: %s", unit.mirror.key, error)
            return
        unit.applied, unit.applied_detection_s = text, detection_s
        unit.wake.set()

    async def _read_disks(
        self, unit: Unit, effect: fx.InspectMetadata | fx.ReadGenerations
    ) -> fx.Outcome:
        drbd = self.ports.drbd
        try:
            if isinstance(effect, fx.InspectMetadata):
                return fx.MetadataRead(await drbd.metadata(unit.mirror))
            return fx.GenerationsRead(await drbd.generations(unit.mirror))
        except PortError as error:
            return fx.Failed(str(error))

    async def _read_mirror(self, unit: Unit) -> fx.Outcome:
        known = unit.record
        try:
            mirror = await self.ports.api.read_mirror(unit.mirror.key)
        except ApiGone:
            return fx.Unreachable(f"{unit.mirror.key} is not in the API")
        except PortError as error:
            return fx.Unreachable(str(error))
        self.node.answered(self.ports.clock.boottime_s())
        unit.observe_mirror(mirror)
        return fx.MirrorRead(mirror, self.ports.request_id(), known)

    async def _swap(self, unit: Unit, effect: fx.Swap) -> fx.Outcome:
        new = effect.authority
        claims = new.owner == self.node.host and new.reason is Reason.CLAIMED
        if claims and self.ports.clock.boottime_s() - self._proven_at_s >= PROVEN_FOR_S:
            unit.record_unsure = True
        if unit.record_unsure and new.reason not in GIVES_UP:
            # What it would win could not be noted: an epoch each try, and nothing done with it. And
            # whoever has claimed keeps everybody else from it.
            stored = await self.recording.update(unit, fx.UpdateRecord())
            if isinstance(stored, fx.Failed):
                return fx.Failed(f"the durable record: {stored.message}")
            self._proven_at_s = self.ports.clock.boottime_s() if claims else self._proven_at_s
        affirms = unit.lapses_ended_by(effect.authority, self.node)
        try:
            mirror = await self.ports.api.swap_authority(
                unit.mirror.key, unit.record.uid, effect.expected_epoch, effect.authority
            )
        except ApiConflict:
            return fx.SwapLost()
        except (ApiUnavailable, ApiGone) as error:
            return fx.SwapUnclear(str(error))
        unit.observe_mirror(mirror)
        unit.affirmed = max(unit.affirmed, affirms)
        log.info(
            "%s: authority epoch %d: %s owner=%s mode=%s",
            unit.mirror.key,
            new.epoch,
            new.reason,
            new.owner or "-",
            new.mode,
        )
        if claims:
            unit.steps = {"authorityWon": self.ports.clock.wall()}
        return fx.Swapped(mirror)

    async def _act(self, unit: Unit, effect: fx.Effect) -> fx.Outcome:
        try:
            if isinstance(effect, fx.CheckFiles):
                await self.ports.drbd.check_files()
                return fx.Done()
            for act in (self._act_on_drbd, self.moving.act, self._act_on_guest):
                if await act(unit, effect):
                    return fx.Done()
        except StartRefused as error:
            return fx.Failed(str(error), refused=True)
        except KilledNotGone as error:
            return fx.Failed(str(error), killed=True)
        except PortError as error:
            return fx.Failed(str(error))
        raise AssertionError(f"no action for {effect}")

    async def _act_on_drbd(self, unit: Unit, effect: fx.Effect) -> bool:
        drbd, mirror = self.ports.drbd, unit.mirror
        match effect:
            case fx.Configure(apply):
                await self._configure(unit, apply=apply)
            case fx.Adjust():
                await drbd.adjust(mirror)
            case fx.ForbidTwo():
                await drbd.forbid_two_primaries(mirror)
            case fx.CreateMetadata(volumes):
                await drbd.create_metadata(mirror, volumes)
            case fx.Attach():
                await drbd.attach(mirror)
            case fx.Connect(discard_my_data):
                await drbd.connect(mirror, discard_my_data=discard_my_data)
            case fx.Disconnect(needs_heartbeat):
                sent_s, now_s = self.node.renewal_sent_at_s, self.ports.clock.boottime_s()
                if needs_heartbeat and not may_lose_link(unit.view(self.node), sent_s, now_s):
                    raise PortError("the guest lives on the link alone")
                await drbd.disconnect(mirror)
            case fx.CopyToPeer(whole):
                await drbd.copy_to_peer(mirror, whole=whole)
            case fx.SkipFirstSync(volumes):
                await drbd.skip_first_sync(mirror, volumes)
            case fx.Promote(force):
                await self._promote(unit, force=force)
            case fx.Demote():
                await self.moving.demote(unit)
            case fx.ResumeIo():
                await drbd.resume_io(mirror)
            case _:
                return False
        return True

    async def _configure(self, unit: Unit, *, apply: bool) -> None:
        async with unit.file_lock:
            written = await self.ports.drbd.configure(unit.mirror, self.resource_text(unit))
            if written:
                unit.applied = ""  # whatever becomes of it here, it is made sure of
            if written and apply:
                await self.ports.drbd.adjust(unit.mirror)

    async def _promote(self, unit: Unit, *, force: bool) -> None:
        """DRBD may ask back through the fence-peer program while this call is under way."""
        self._require_no_wall(unit)
        unit.promoting = True
        try:
            with unit.transit.promotion():
                await self.ports.drbd.promote(unit.mirror, force=force)
        finally:
            unit.promoting = False
        unit.steps["promoted"] = self.ports.clock.wall()

    async def _act_on_guest(self, unit: Unit, effect: fx.Effect) -> bool:
        libvirt, guest = self.ports.libvirt, unit.guest
        if guest is None:
            raise PortError("the guest is not in the API")
        name = domain_name(guest)
        match effect:
            case fx.StartGuest(claimed_at_s):
                await self._start(unit, claimed_at_s)
            case fx.ShutDownGuest():
                # Its time begins with the first try: libvirt may refuse every one.
                unit.shutdown_sent_at_s = unit.shutdown_sent_at_s or self.ports.clock.boottime_s()
                await libvirt.shutdown(name)
                unit.shutdown_heard = True
            case fx.ResumeGuest(claimed_at_s):
                self._require_may_start(unit, claimed_at_s)
                await self._run_here(unit, lambda: libvirt.resume(name))
            case fx.DestroyGuest():
                await self._destroy(unit, name)
            case fx.CutNetwork():
                await self.ports.network.cut(name)
            case _:
                return False
        return True

    async def _destroy(self, unit: Unit, name: str) -> None:
        try:
            await self.ports.libvirt.destroy(name)
        except KilledNotGone:
            unit.killed = True
            if unit.fence is not None:
                unit.fence = replace(unit.fence, killed=True)
            raise
        unit.observe_domain(await self._domain_state(name))

    async def _start(self, unit: Unit, claimed_at_s: float) -> None:
        """Start the guest, unless the run predicate turned false since the claim (rules 10, 14)."""
        guest = unit.guest
        assert guest is not None
        self._require_may_start(unit, claimed_at_s)
        xml = self._described(unit)
        try:
            await self._run_here(unit, lambda: self.ports.libvirt.start(guest, xml))
        except CommandFailed as error:
            raise StartRefused(str(error)) from error

    async def _run_here(self, unit: Unit, begin: Callable[[], Awaitable[None]]) -> None:
        unit.begins(self.ports.clock.boottime_s())  # the guard and the watchdog must know
        self.on_starting()
        try:
            await begin()
            unit.observe_domain(DomainState.RUNNING)
        finally:
            unit.starting = False
        unit.steps["domainStarted"], unit.started_by = self.ports.clock.wall(), unit.began_by

    def _described(self, unit: Unit) -> str:
        assert unit.guest is not None
        try:
            return render_domain(unit.guest, unit.mirror, self.domain_settings)
        except DomainXmlError as error:
            raise StartRefused(str(error)) from error

    def _require_may_start(self, unit: Unit, claimed_at_s: float) -> None:
        self._require_no_wall(unit)
        sent_s, steady_s = self.node.renewal_sent_at_s, self.node.steady_since_s
        now_s = self.ports.clock.boottime_s()
        view = unit.view(self.node)
        permission = start_permission(view, sent_s, steady_s, claimed_at_s, now_s)
        if not permission.allowed:
            raise PortError(f"not starting: {permission.message}")

    def _require_no_wall(self, unit: Unit) -> None:
        """A bug may have been met beside the procedure that is under way."""
        if why := self.walls.why(unit):
            raise PortError(why)

    async def _query_domain(self, unit: Unit) -> fx.Outcome:
        try:
            name = domain_name(unit.guest) if unit.guest else ""
            state = await self._domain_state(name)
        except PortError:
            state = DomainState.UNKNOWN
        unit.observe_domain(state)
        return fx.DomainRead(state)

    async def _domain_state(self, name: str) -> DomainState:
        return (await self.ports.libvirt.states()).get(name, DomainState.ABSENT)
