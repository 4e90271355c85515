"""Whether what a person ordered was carried out, and if not, whether somebody is told why.

Orders are those given since everything but what is broken for good was mended: a guest is to stop,
to go, to run at another site, or its mirror is given to a host. Looked at when the time for it is
over, in the true state. Called by ``verbs``, which notes them, and by ``player.Seen`` and
``trial``, which judge.
"""

from dataclasses import dataclass
from enum import StrEnum

from sim.commands.lasting import is_heard
from sim.commands.moves import moves_of
from sim.host.host import Host
from sim.referee.truth import Truth, in_sync
from sim.world import World
from tandem_api.kinds.guest import Guest, Policy
from tandem_api.kinds.host import Host as HostObject
from tandem_api.meta import ObjectKey
from tandem_api.reasons import Reason
from tandem_api.vocabulary import MovePhase
from tandem_scenario.verbs import Act

SAYS_WHY = ("Blocked", "Failed", "Unknown")
"""Phases whose message is a reason."""


class Ordered(StrEnum):
    STOP = "stop"
    DELETE = "delete"
    MOVE = "move"
    MOVE_BY_HAND = "move by hand"
    OVERRIDE = "override"


class End(StrEnum):
    """What became of an order."""

    DONE = "done"
    REFUSED = "refused"
    """It was not carried out, and the status says why."""
    MOOT = "moot"
    """It names an epoch that has passed, and all is well."""
    UNHEARD = "unheard"
    """There is no API to hear of it, and none to tell anything."""
    WRONG = "wrong"


@dataclass(frozen=True)
class Answer:
    end: End
    words: str = ""

    @property
    def wrong(self) -> str:
        return self.words if self.end is End.WRONG else ""


def note(world: World, act: Act) -> None:
    """A person gives an order, if this is one."""
    match act.verb, act.arguments:
        case "set running", (guest, on):
            _add(world, guest, Ordered.STOP) if on == "false" else _drop(world, guest)
        case "delete", (guest,):
            _add(world, guest, Ordered.DELETE)
        case "set prefers", (guest, _):
            _add(world, guest, Ordered.MOVE)
        case "move" | "move live" | "move within", (guest, *_):
            _add(world, guest, Ordered.MOVE_BY_HAND)
        case "override", (guest, _):
            _add(world, guest, Ordered.OVERRIDE)
        case "set maintenance", (_, on) if on == "true":
            for plan in world.plan.guests:
                _add(world, plan.name, Ordered.MOVE)


def _add(world: World, guest: str, order: Ordered) -> None:
    world.ordered.setdefault(guest, {})[order] = None


def _drop(world: World, guest: str) -> None:
    world.ordered.get(guest, {}).pop(Ordered.STOP, None)


def answers(world: World, name: str) -> list[Answer]:
    """To what was ordered for this guest. Who shall not run at all is not moved either."""
    judged = {Ordered(order) for order in world.ordered.get(name, {})}
    for stronger in (Ordered.DELETE, Ordered.STOP):
        if stronger in judged:
            judged = {stronger}
    if judged and not world.api.up:
        return [Answer(End.UNHEARD)] * len(judged)
    return [JUDGES[order](_Judge(world, name)) for order in sorted(judged)]


def wrong(world: World, name: str) -> str:
    return "; ".join(answer.wrong for answer in answers(world, name) if answer.wrong)


class _Judge:
    """Of one guest, and one order."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name, self.key = world, name, str(world.key(name))
        self.truth: Truth = world.referee.truth

    def answer(self, order: Ordered, *, done: bool, must: str, why: str) -> Answer:
        """``must``: where nothing stands against it; ``why``: what the status says, if it does."""
        if done:
            return Answer(End.DONE)
        told = self.told()
        if self.truth.paused(self.key) and "is paused by" in (why or told):
            return Answer(End.REFUSED, why or told)
        if must:
            return Answer(
                End.WRONG, f"{self.name} was ordered to {order}, and {must}; it is {told}"
            )
        if why:
            return Answer(End.REFUSED, why)
        return Answer(
            End.WRONG, f"{self.name} was ordered to {order}, and nobody says why not: {told}"
        )

    def told(self) -> str:
        found = self.guest
        if found is None:
            return "gone"
        return f"{found.status.phase} {found.status.reason}: {found.status.message}"

    @property
    def guest(self) -> Guest | None:
        return self.world.find_guest(self.name)

    def explained(self) -> str:
        """The message, if it is a complaint, or says which host has not stopped it."""
        found = self.guest
        message, phase = ("", "") if found is None else (found.status.message, found.status.phase)
        stopping = str(phase) == "Stopping" and any(host in message for host in self.world.hosts)
        return message if stopping or str(phase) in SAYS_WHY else ""

    def hears(self, name: str) -> bool:
        """Whether this host can be told, and can do as it is told."""
        machine = self.world.hosts[name].machine
        if machine is None or not machine.group.awake or self.world.actuator_of(name) is None:
            return False
        return self.world.hosts[name].well and is_heard(self.world, name)

    def nobody_keeps_it(self) -> bool:
        """Whether every host hears, and none has a QEMU that waits in the kernel for its disk."""
        holders = self.truth.holders(self.key)
        return all(self.hears(host.name) and not self._waits(host) for host in holders)

    def _waits(self, host: Host) -> bool:
        replica = self.truth.replica(host, self.key)
        return replica is not None and replica.keeps_its_qemu

    # -- to run nowhere

    def stop(self) -> Answer:
        found = self.guest
        alive = [run.host for run in self.world.referee.histories[self.key].alive]
        stopped = not alive and found is not None and str(found.status.phase) == "Stopped"
        must = ", ".join(f"{host} hears" for host in alive if self.hears(host))
        if not alive and self.nobody_keeps_it():
            must = "it has stopped"
        return self.answer(Ordered.STOP, done=stopped, must=must, why=self.explained())

    def delete(self) -> Answer:
        alive = [run.host for run in self.world.referee.histories[self.key].alive]
        gone = self.guest is None and not alive
        must = ", ".join(f"{host} hears" for host in alive if self.hears(host))
        if not alive and self.nobody_keeps_it():
            must = "it runs nowhere"
        return self.answer(Ordered.DELETE, done=gone, must=must, why=self.explained())

    # -- to run elsewhere

    def move(self) -> Answer:
        here = self.world.runs_on(self.name)
        target = self._target(here[0]) if len(here) == 1 else None
        if len(here) == 1 and target is None:
            return Answer(End.DONE)
        found = self.guest
        message = found.status.message if found is not None else ""
        if target is None:  # it runs nowhere: that is judged for itself
            return Answer(End.REFUSED, message)
        ready = self._may_go(self.world.hosts[here[0]], target)
        must = f"{target.name} could take it" if ready else ""
        names = (target.name, target.site)
        why = message if any(name in message for name in names) else self.explained()
        return self.answer(Ordered.MOVE, done=False, must=must, why=why)

    def _target(self, here: str) -> Host | None:
        """Where it should be instead, if anywhere."""
        found, host = self.guest, self.world.hosts[here]
        other = self.truth.peer_of(here, self.key)
        if found is None or self.truth.closed(other.name):
            return None
        wants = found.spec.placement.preferred_site == other.site and not self._by_hand(found)
        back = wants and found.spec.failback.policy is Policy.AUTOMATIC
        return other if back or self.truth.closed(host.name) else None

    @staticmethod
    def _by_hand(found: Guest) -> bool:
        """Whether it was moved to where it is by hand: then it stays there."""
        assignment = found.status.assignment
        return assignment is not None and assignment.reason is Reason.MOVE_REQUESTED

    def move_by_hand(self) -> Answer:
        """The oldest that has not ended: it goes on, or says what it waits for."""
        found = moves_of(self.world, self.name)
        waiting = [move for move in found if not move.ended]
        if not waiting:
            last = found[-1].status if found else None
            failed = last is not None and last.phase == MovePhase.FAILED
            why = last.message if last is not None else ""
            return self.answer(Ordered.MOVE_BY_HAND, done=not failed, must="", why=why)
        here = self.world.runs_on(self.name)
        must = ""
        if len(here) == 1:
            to, target = waiting[0].spec.to, self.truth.peer_of(here[0], self.key)
            there = target.name == to.host or target.site == to.site
            may = there and not self.truth.closed(target.name)
            if may and self._may_go(self.world.hosts[here[0]], target):
                must = f"{target.name} could take it"
        why = waiting[0].status.message
        return self.answer(Ordered.MOVE_BY_HAND, done=False, must=must, why=why)

    def _may_go(self, host: Host, target: Host) -> bool:
        """Whether everything is as well as a planned move may ask for."""
        if not (self.hears(host.name) and self.hears(target.name)):
            return False
        machine = target.machine
        replicas = [self.truth.replica(one, self.key) for one in (host, target)]
        well = all(one is not None and one.connected and in_sync(one) for one in replicas)
        starts = machine is not None and not machine.libvirt.refuses_to_start
        return (
            well
            and starts
            and (self._armed(target) or not target.watchdog_configured)
            and self.truth.may_be_promoted(target, self.key)
            and not self.truth.held(target, self.key)
        )

    def _armed(self, host: Host) -> bool:
        machine = host.machine
        if machine is None:
            return False
        spec = self.world.api.server.get(HostObject, ObjectKey(namespace="", name=host.name)).spec
        required = str(spec.watchdog) == "Required"
        return not required or (machine.hardware.counting and machine.hardware.holder is not None)

    # -- to go on where something is given up

    def override(self) -> Answer:
        mirror = self.world.mirror(self.name)
        order, authority = mirror.spec.override, mirror.status.authority
        if order is None or authority is None:
            return Answer(End.DONE)
        applied = authority.override
        done = applied is not None and (applied.at_epoch, applied.host) == (order.epoch, order.host)
        said = str(mirror.status.reason).startswith("Override")
        if not done and not said and order.epoch != authority.epoch and self._is_well():
            return Answer(End.MOOT)
        why = mirror.status.message if said else ""
        return self.answer(Ordered.OVERRIDE, done=done, must="", why=why)

    def _is_well(self) -> bool:
        replicas = [self.truth.replica(host, self.key) for host in self.truth.holders(self.key)]
        return all(one is not None and one.connected and in_sync(one) for one in replicas)


JUDGES = {
    Ordered.STOP: _Judge.stop,
    Ordered.DELETE: _Judge.delete,
    Ordered.MOVE: _Judge.move,
    Ordered.MOVE_BY_HAND: _Judge.move_by_hand,
    Ordered.OVERRIDE: _Judge.override,
}
