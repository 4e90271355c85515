"""Verbs that make one part of a world ail, and those that heal it.

Parts are the watchdog's keeper and its device, files, kopf, libvirt's calls and events, programs
that are starved, and bugs that are planted in them.

What ails a host's hardware, its files or how much time its programs get outlives a boot; what ails
its libvirtd does not. Called by ``verbs``; ``heal`` and ``remove_damaged`` by ``acts``, for
``mend all``.
"""

import errno

from sim.commands.api_faults import CONTROLLER, accept, host_of, stale, watch_double, watch_lose
from sim.host.fence_agent import ail
from sim.host.file_faults import Damage, Operation
from sim.host.files import SimFiles
from sim.host.host import STATE, Host, Machine
from sim.libvirt.libvirtd import EVENT_S
from sim.programs.actuator import forget_exits
from sim.programs.bugs import KINDS, Bug
from sim.world import World
from tandem_actuator.adapters.files.records import FileRecords
from tandem_actuator.ports import PortError
from tandem_api.meta import ObjectKey
from tandem_api.registry import BY_NAME
from tandem_api.vocabulary import Connection, Role

LOSES_EVENTS = 0.3
CALLS = {
    "open": "open",
    "look": "active_domains",
    "start": "create",
    "shutdown": "shutdown",
    "destroy": "destroy",
}
"""What a scenario calls a call, and what the port does."""
DAMAGES = (Damage.EMPTY, Damage.TORN, Damage.ZEROED)


def _machine(world: World, host: str) -> Machine | None:
    return world.hosts[host].machine


# -- the watchdog


def keeper_kill(world: World, host: str) -> None:
    """What feeds the watchdog dies. The device stays armed, and counts."""
    world.log.say("scenario", f"keeper kill {host}")
    machine = _machine(world, host)
    if machine is not None:
        machine.keepers.kill()


def keeper_pause(world: World, host: str) -> None:
    world.log.say("scenario", f"keeper pause {host}")
    machine = _machine(world, host)
    if machine is not None:
        machine.keepers.pause()


def keeper_resume(world: World, host: str) -> None:
    world.log.say("scenario", f"keeper resume {host}")
    machine = _machine(world, host)
    if machine is not None:
        machine.keepers.resume()


def keeper_starve(world: World, host: str, seconds: str) -> None:
    world.log.say("scenario", f"keeper starve {host} {seconds}")
    world.hosts[host].keeper_late_s = float(seconds)
    machine = _machine(world, host)
    if machine is not None:
        machine.keepers.late_s = float(seconds)


def watchdog_refuse(world: World, host: str, seconds: str) -> None:
    """From now on its device takes no timeout that is shorter; the one that it has stays."""
    world.log.say("scenario", f"watchdog refuse {host} {seconds}")
    _smallest(world.hosts[host], int(float(seconds)))


def watchdog_back(world: World, host: str) -> None:
    """It is there, and takes every timeout."""
    world.log.say("scenario", f"watchdog back {host}")
    world.hosts[host].has_watchdog = True
    _smallest(world.hosts[host], 1)
    machine = _machine(world, host)
    if machine is not None:
        machine.hardware.present = True


def _smallest(host: Host, seconds: int) -> None:
    host.watchdog_smallest_s = seconds
    if host.machine is not None:
        host.machine.hardware.smallest_s = seconds


# -- programs that get too little time


def starve(world: World, program: str, seconds: str) -> None:
    """Each turn of its loop comes up to so much later, also after its next start."""
    world.log.say("scenario", f"starve {program} {seconds}")
    late_s = float(seconds)
    if program == CONTROLLER:
        world.controller_late_s = late_s
        for controller in world.controllers:
            controller.loop.late_s = late_s
        return
    world.hosts[program].late_s = late_s
    actuator = world.actuator_of(program)
    if actuator is not None:
        actuator.loop.late_s = late_s


# -- files


def files_full(world: World, host: str) -> None:
    world.log.say("scenario", f"files full {host}")
    world.hosts[host].files.full = True


def run_full(world: World, host: str) -> None:
    """Its /run, until its next boot: what an actuator leaves to its next run, and no record."""
    world.log.say("scenario", f"files full {host} run")
    machine = _machine(world, host)
    if machine is not None:
        machine.run_files.full = True


def files_read_only(world: World, host: str) -> None:
    world.log.say("scenario", f"files read-only {host}")
    world.hosts[host].files.read_only = True


def files_unsynced(world: World, host: str) -> None:
    """Every fsync fails, and what it was to keep is kept by no later one."""
    world.log.say("scenario", f"files unsynced {host}")
    for operation in (Operation.SYNC, Operation.SYNC_DIRECTORY):
        world.hosts[host].files.fail(operation, errno.EIO)


def files_unreadable(world: World, host: str) -> None:
    world.log.say("scenario", f"files unreadable {host}")
    world.hosts[host].files.fail(Operation.READ, errno.EIO)


def files_heal(world: World, host: str) -> None:
    """They take and give everything again. What is damaged stays damaged."""
    world.log.say("scenario", f"files heal {host}")
    world.hosts[host].files.mend()
    machine = _machine(world, host)
    if machine is not None:
        machine.run_files.mend()


def damage_records(world: World, host: str) -> None:
    """What a host that is off remembers of its mirrors is damaged: empty, cut short, or zeros."""
    world.log.say("scenario", f"damage-records {host}")
    if _machine(world, host) is not None:
        return
    files = world.hosts[host].files
    files.power_on()
    for name in _records(files):
        files.damage(STATE / name, world.kernel.random.choice(DAMAGES))
    files.power_cut()


def _records(files: SimFiles) -> list[str]:
    names = files.list_names(STATE) if files.is_directory(STATE) else []
    return sorted(name for name in names if name.endswith(".json"))


def remove_damaged(world: World, host: Host) -> None:
    """A person removes what cannot be read: its host then knows nothing of that mirror."""
    if host.machine is None:
        host.files.power_on()
    for name in _records(host.files):
        try:
            FileRecords(STATE, host.files).load(name.removesuffix(".json"))
        except PortError:
            world.log.say("scenario", f"{host.name}: the record {name} is removed")
            host.files.unlink(STATE / name)


# -- kopf


def kopf_kill(world: World) -> None:
    """It ends by an error of its own; the controller begins another."""
    world.log.say("scenario", "kopf kill")
    for controller in world.controllers:
        for watcher in controller.watchers.begun[-1:]:
            watcher.die()


def kopf_give_up(world: World, kind: str) -> None:
    """Its task for one kind ends without a word, and it begins no other."""
    world.log.say("scenario", f"kopf give-up {kind}")
    for controller in world.controllers:
        for watcher in controller.watchers.begun[-1:]:
            watcher.give_up(kind)


def kopf_lag(world: World, seconds: str) -> None:
    """What it has heard it passes on up to so much later, in its order. 0 ends it."""
    world.log.say("scenario", f"kopf lag {seconds}")
    world.kopf_lag_s = float(seconds)
    for controller in world.controllers:
        controller.watchers.lag_s = float(seconds)


# -- libvirt


def libvirt_pause(world: World, host: str, *, stands: bool) -> None:
    """The daemon stands still: what it is asked waits, and connections die of its silence."""
    world.log.say("scenario", f"libvirt {'pause' if stands else 'resume'} {host}")
    machine = _machine(world, host)
    if machine is not None and machine.libvirt.hanging is not stands:
        machine.libvirt.hanging = stands


def libvirt_hold(world: World, host: str, call: str) -> None:
    """Calls of this kind are taken and not answered, until ``libvirt up``."""
    world.log.say("scenario", f"libvirt hold {host} {call}")
    machine = _machine(world, host)
    if machine is not None:
        machine.libvirt.stuck_calls.add(CALLS[call])


def libvirt_late(world: World, host: str, call: str, seconds: str) -> None:
    """What is done is told only so much later, until ``libvirt up``."""
    world.log.say("scenario", f"libvirt late {host} {call} {seconds}")
    machine = _machine(world, host)
    if machine is not None:
        machine.libvirt.answers_late_s[CALLS[call]] = float(seconds)


def libvirt_events(world: World, host: str, seconds: str) -> None:
    """Its events come up to so much later, in any order, and some never. 0 ends it."""
    world.log.say("scenario", f"libvirt events {host} {seconds}")
    machine, late_s = _machine(world, host), float(seconds)
    if machine is not None:
        machine.libvirt.event_s = (0.0, late_s) if late_s else EVENT_S
        machine.libvirt.loses_events = LOSES_EVENTS if late_s else 0.0


# -- bugs of the programs


def bug(world: World, host: str, place: str, guest: str) -> None:
    """Something in its actuator raises, about one guest's mirror alone, until ``fix``."""
    world.log.say("scenario", f"bug {host} {place} {guest}")
    world.bugs.plant(host, Bug(place, KINDS.get(place, ""), world.key(guest)))
    actuator = world.actuator_of(host)
    if actuator is not None:
        actuator.spoil()


def bug_of_controller(world: World, place: str, obj: str) -> None:
    """The same of every controller, about one object."""
    world.log.say("scenario", f"bug controller {place} {obj}")
    kind, _, name = obj.partition("/")
    key = world.key(name) if BY_NAME[kind].namespaced else ObjectKey(namespace="", name=name)
    world.bugs.plant(CONTROLLER, Bug(place, kind, key))


def fix(world: World, program: str) -> None:
    """It is replaced by one without bugs."""
    world.log.say("scenario", f"fix {program}")
    world.bugs.fix(program)
    if program == CONTROLLER:
        return
    if world.actuator_of(program) is not None:
        world.actuator_restart(program)
    elif (machine := world.hosts[program].machine) is not None:
        forget_exits(machine)


# -- drbdadm


def misconfigure(world: World, host: str) -> None:
    """A stray file in drbd.d cannot be read, so drbdadm does nothing any more, and starts no
    fence-peer program; until ``drbd correct``.
    """
    world.log.say("scenario", f"drbd spoil {host}")
    world.hosts[host].drbd_misconfigured = True


def correct_drbd(world: World, host: str) -> None:
    world.log.say("scenario", f"drbd correct {host}")
    world.hosts[host].drbd_misconfigured = False


def drbd_events(world: World, host: str, seconds: str) -> None:
    """Its events come up to so much later, in their order, and some are skipped, which is told. 0
    ends it.
    """
    world.log.say("scenario", f"drbd events {host} {seconds}")
    world.hosts[host].drbd_events_s = float(seconds)


def drbd_skip(world: World, host: str) -> None:
    """Its events begin anew, now."""
    world.log.say("scenario", f"drbd skip {host}")
    actuator = world.actuator_of(host)
    if actuator is not None:
        actuator.drbd.misses()


# -- TCP


def fence_agent(world: World, host: str, how: str) -> None:
    """What is wrong with the host's fence agent, or the device that it asks; empty: nothing."""
    world.log.say("scenario", f"fence-agent of {host}: {how or 'well'}")
    ail(world.agents.outlets[host], how)


def hide_tcp(world: World, host: str) -> None:
    """From its next boot its kernel tells nothing of DRBD's sockets."""
    world.log.say("scenario", f"tcp hide {host}")
    world.hosts[host].hides_sockets = True


def show_tcp(world: World, host: str) -> None:
    world.log.say("scenario", f"tcp show {host}")
    world.hosts[host].hides_sockets = False


# -- all of it


def heal(world: World) -> None:
    """Nothing ails any more, but for libvirt: that is mended with its host."""
    for program in (*world.hosts, CONTROLLER):
        if program in world.bugs.planted:
            fix(world, program)
        host = host_of(program)
        if any(one.host == host for one in world.api.refusals):
            accept(world, program)
        lost, doubled = world.api.spoilt.get(host, (0.0, 0.0))
        if lost:
            watch_lose(world, program, "0")
        if doubled:
            watch_double(world, program, "0")
    if world.api.cache_stands_since_s is not None:
        stale(world, stands=False)
    if world.kopf_lag_s:
        kopf_lag(world, "0")
    if world.controller_late_s:
        starve(world, CONTROLLER, "0")
    for each in world.hosts.values():
        _heal_host(world, each)


def _heal_host(world: World, host: Host) -> None:
    name, machine, actuator = host.name, host.machine, world.actuator_of(host.name)
    if actuator is not None and actuator.program.reduced:
        world.actuator_restart(name)
    if host.late_s:
        starve(world, name, "0")
    if host.drbd_misconfigured:
        correct_drbd(world, name)
    if host.drbd_events_s:
        drbd_events(world, name, "0")
    if host.keeper_late_s:
        keeper_starve(world, name, "0")
    if not host.has_watchdog or host.watchdog_smallest_s > 1:
        watchdog_back(world, name)
    if machine is not None and not machine.keepers.awake:
        keeper_resume(world, name)
    if not host.files.well or (machine is not None and not machine.run_files.well):
        files_heal(world, name)


def squeeze(world: World, *, narrow: bool) -> None:
    """Large packets get lost on the replication link, or pass again."""
    world.log.say("scenario", f"link {'narrow' if narrow else 'wide'}")
    world.network.squeeze(narrow=narrow)


def widen(world: World) -> None:
    """All passes, unless that is broken for good. A person connects at once what has given the link
    up, as its status says.
    """
    if "path" in world.broken_for_good or not world.network.was_narrow:
        return
    squeeze(world, narrow=False)
    world.network.was_narrow = False
    for host in world.hosts.values():
        for replica in host.machine.replicas.values() if host.machine else ():
            if replica.connection is Connection.STANDALONE and replica.role is Role.PRIMARY:
                replica.connect(discard=False)
