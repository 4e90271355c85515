"""What else can be done to a world: faults of single parts, and what people do.

``world`` has what concerns its own parts (power, links, programs); here is what reaches into one
of them. Called by ``verbs``.
"""

from collections.abc import Callable

from sim.commands.api_faults import CONTROLLER
from sim.drbd import hanging, resync
from sim.drbd.pair import Pair
from sim.drbd.replica import Replica
from sim.drbd.resync import CopyEnds
from sim.drbd.state import attached
from sim.host.files import SimFiles
from sim.programs.actuator import Crash
from sim.world import World
from tandem_api.authority import Authority
from tandem_api.kinds.mirror import Mirror
from tandem_api.reasons import Reason
from tandem_api.vocabulary import Role

ADDED_MINOR = 999
"""No other mirror of a scenario has it."""


def cut(world: World, link: str, host: str = "", direction: str = "") -> None:
    world.log.say("scenario", f"cut {link} {host} {direction}".rstrip())
    world.network.cut(link, host, direction)


def heal(world: World, link: str, host: str = "") -> None:
    world.log.say("scenario", f"heal {link} {host}".rstrip())
    world.network.heal(link, host)


def part(world: World, one: str, other: str) -> None:
    """The replication link between these two alone."""
    world.log.say("scenario", f"cut replication {one} {other}")
    world.network.part(one, other)


def join(world: World, one: str, other: str) -> None:
    world.log.say("scenario", f"heal replication {one} {other}")
    world.network.join(one, other)


def api_down(world: World) -> None:
    world.log.say("scenario", "api down")
    world.api.set_up(False)


def api_up(world: World) -> None:
    world.log.say("scenario", "api up")
    world.api.set_up(True)


def api_pause(world: World, *, stands: bool) -> None:
    """Its process stands still: what its kernel takes meanwhile is read once it goes on."""
    world.log.say("scenario", f"api {'pause' if stands else 'resume'}")
    if stands:
        world.api.pause()
    else:
        world.api.resume()


def api_restart(world: World) -> None:
    """Every connection to it ends; it is back at once."""
    world.log.say("scenario", "api restart")
    world.api.break_all()


def api_backup(world: World) -> None:
    world.log.say("scenario", "api backup")
    world.backup = world.api.server.backup()


def api_restore(world: World) -> None:
    """As it was at the backup, or at time 0."""
    world.log.say("scenario", "api restore")
    assert world.backup is not None
    world.api.server.restore(world.backup)


def slow(world: World, program: str, seconds: str) -> None:
    world.log.say("scenario", f"slow {program} {seconds}")
    world.network.slow("" if program == CONTROLLER else program, float(seconds))


def slow_way(world: World, program: str, way: str, seconds: str) -> None:
    """Only its requests, or only the answers; always by just so much."""
    world.log.say("scenario", f"slow {program} {seconds} {way}")
    host = "" if program == CONTROLLER else program
    world.network.slow_way_s[(host, way)] = float(seconds)


def delay(world: World, link: str, host: str, milliseconds: str) -> None:
    """What comes from this host takes so much longer."""
    world.log.say("scenario", f"delay {link} {host} {milliseconds}")
    world.network.delay_s[(link, host)] = int(milliseconds) / 1000


def plan_slow(world: World, seconds: str) -> None:
    """Also for what starts later."""
    world.log.say("scenario", f"plan slow {seconds}")
    world.planning.takes_s = float(seconds)


def watch_lag(world: World, program: str, seconds: str) -> None:
    """Also for what starts later."""
    world.log.say("scenario", f"watch lag {program} {seconds}")
    lag_s, host = float(seconds), "" if program == CONTROLLER else program
    if lag_s:
        world.api.watch_lag_s[host] = (lag_s / 2, lag_s)
    else:
        world.api.watch_lag_s.pop(host, None)


def watch_silent(world: World, program: str) -> None:
    world.log.say("scenario", f"watch silent {program}")
    for stream in world.api.streams_of("" if program == CONTROLLER else program):
        stream.fall_silent()


def watch_close(world: World, program: str) -> None:
    world.log.say("scenario", f"watch close {program}")
    for stream in world.api.streams_of("" if program == CONTROLLER else program):
        stream.close()


def clock(world: World, host: str, rate: str) -> None:
    """From now on, and after its next boots."""
    world.log.say("scenario", f"clock {host} {rate}")
    world.hosts[host].rate = float(rate)
    machine = world.hosts[host].machine
    if machine is not None:
        machine.set_rate(float(rate))


def clock_jump(world: World, whose: str, seconds: str) -> None:
    """A wall clock is set, by so much from what it shows; it stays so over boots and restarts."""
    world.log.say("scenario", f"clock jump {whose} {seconds}")
    ahead_s = world.log.ahead_s
    ahead_s[whose] = ahead_s.get(whose, 0.0) + float(seconds)


def clock_right(world: World, whose: str) -> None:
    """NTP sets a wall clock right, at once."""
    world.log.say("scenario", f"clock right {whose}")
    world.log.ahead_s.pop(whose, None)


def clocks_right(world: World) -> None:
    """All that are wrong."""
    for whose in [*world.log.ahead_s]:
        clock_right(world, whose)


def watchdog_away(world: World, host: str) -> None:
    """It finds none when it boots; one that is armed stays armed until then."""
    world.log.say("scenario", f"watchdog away {host}")
    world.hosts[host].has_watchdog = False


def fail_disk(world: World, host: str, number: str = "") -> None:
    """All volumes, or the n-th of each mirror."""
    world.log.say("scenario", f"fail-disk {host} {number}".rstrip())
    for replica in _replicas(world, host):
        replica.fail_disk(_chosen(replica, number))


def hang_disk(world: World, host: str, number: str = "") -> None:
    """Those that the kernel has in use, until its next boot."""
    world.log.say("scenario", f"hang-disk {host} {number}".rstrip())
    for replica in _replicas(world, host):
        hanging.hang(replica, _chosen(replica, number))


def hang_disk_reads(world: World, host: str) -> None:
    """As each guest there has to read."""
    world.log.say("scenario", f"hang-disk {host} reads")
    for replica in _replicas(world, host):
        hanging.hang(replica, list(replica.backings), reads=True)


def unhang_disk(world: World, host: str) -> None:
    world.log.say("scenario", f"unhang-disk {host}")
    for replica in _replicas(world, host):
        hanging.answers(replica)


def detach(world: World, host: str) -> None:
    """By force, as a person does, what hangs."""
    world.log.say("scenario", f"detach {host}")
    for replica in _replicas(world, host):
        if replica.hangs:
            hanging.detach(replica)


def _replicas(world: World, host: str) -> list[Replica]:
    machine = world.hosts[host].machine
    return list(machine.replicas.values()) if machine else []


def _chosen(replica: Replica, number: str) -> list[str]:
    names = list(replica.backings)
    return names if not number else names[int(number) - 1 : int(number)]


def stall_resync(world: World, guest: str, ends: CopyEnds) -> None:
    """The next resync of its mirror that comes to an end does not."""
    world.log.say("scenario", f"stall-resync {guest}")
    pair(world, guest).next_copy = ends


def verify(world: World, guest: str) -> None:
    """The standby's disk has lost a block; both ends are connected, and one is Primary."""
    world.log.say("scenario", f"verify {guest}")
    wire = pair(world, guest)
    replicas = [side.replica for side in wire.sides.values() if side.replica is not None]
    primary = next((one for one in replicas if one.role is Role.PRIMARY), None)
    peer = wire.peer_now(primary) if primary is not None else None
    if primary is None or peer is None:
        return
    name = next(iter(primary.volumes))
    if not all(attached(each.volumes[name].disk) for each in (primary, peer)):
        return  # there is nothing to compare
    lost = set(sorted(peer.holds(name))[:1])
    peer.holds(name).difference_update(lost)
    world.referee.custody.rots(peer.host, str(world.key(guest)), name, lost)
    resync.verify(wire, primary, name)


def pair(world: World, guest: str) -> Pair:
    key = world.key(guest)
    name = f"{key.namespace}.{key.name}"
    return next(host.pairs[name] for host in world.hosts.values() if name in host.pairs)


def handler_kill(world: World, host: str) -> None:
    """The fence-peer programs that DRBD waits for; the actuator goes on with what they asked."""
    world.log.say("scenario", f"handler kill {host}")
    machine = world.hosts[host].machine
    if machine is not None:
        machine.handlers.kill()


def libvirt_refuse(world: World, host: str) -> None:
    world.log.say("scenario", f"libvirt refuse {host}")
    machine = world.hosts[host].machine
    if machine is not None:
        machine.libvirt.refuses_to_start = True


def libvirt_slow(world: World, host: str, seconds: str) -> None:
    world.log.say("scenario", f"libvirt slow {host} {seconds}")
    machine = world.hosts[host].machine
    if machine is not None:
        machine.libvirt.start_takes_s = float(seconds)


def libvirt_hang(world: World, host: str) -> None:
    """No guest can be killed there; only the watchdog helps."""
    world.log.say("scenario", f"libvirt hang {host}")
    machine = world.hosts[host].machine
    if machine is not None:
        machine.libvirt.cannot_kill = True


def libvirt_linger(world: World, host: str, seconds: str) -> None:
    """A guest that is killed there executes on for so long."""
    world.log.say("scenario", f"libvirt linger {host} {seconds}")
    machine = world.hosts[host].machine
    if machine is not None:
        machine.libvirt.processes.hears_late_s = float(seconds)


def actuator_pause(world: World, host: str) -> None:
    """Its process stands still (SIGSTOP); kernel, guests and what feeds the watchdog go on."""
    world.log.say("scenario", f"actuator pause {host}")
    actuator = world.actuator_of(host)
    if actuator is not None:
        world.kernel.pause(actuator.group)


def actuator_resume(world: World, host: str) -> None:
    world.log.say("scenario", f"actuator resume {host}")
    actuator = world.actuator_of(host)
    if actuator is not None:
        world.kernel.resume(actuator.group)


WITH_AN_IMAGE = (
    "<domain><devices><disk type='file' device='cdrom'><source file='/srv/iso/x.iso'/>"
    "<target dev='sda' bus='sata'/></disk></devices></domain>"
)
"""A template that no host may start."""


def lose_records(world: World, host: str) -> None:
    """What a host that is off remembers of its mirrors is gone, as with a new system disk."""
    world.log.say("scenario", f"lose-records {host}")
    if world.hosts[host].machine is None:
        world.hosts[host].files = SimFiles(world.kernel.random)


def crash(world: World, guest: str) -> None:
    """Its QEMU dies by itself, as where memory is short, or a person ends it with virsh."""
    world.log.say("scenario", f"crash {guest}")
    for run in world.referee.executing(str(world.key(guest))):
        run.end("crashed")


def crash_after_grant(world: World, host: str) -> None:
    """From now on: the moment this host is granted to write alone, before it hears of it."""
    world.log.say("scenario", f"crash-after-grant {host}")
    began_s = world.kernel.now_s

    def kill() -> None:
        world.referee.done("kill", (host,))
        world.kill(host)

    def told(mirror: Mirror, before: Authority | None) -> None:
        after = mirror.status.authority
        mine = after is not None and after.owner == host and after.reason is Reason.LINK_LOST
        if began_s <= world.mended_s:
            world.api.server.on_authority.remove(told)
        elif mine and world.kernel.now_s > began_s:
            world.api.server.on_authority.remove(told)
            world.at_once(kill)

    world.api.server.on_authority.append(told)


def crash_host(world: World, host: str, after: int, *, whole_machine: bool) -> None:
    """Arrange that this host (or its actuator alone) crashes right after its n-th effect."""

    def power_cycle() -> None:
        world.referee.done("kill", (host,))
        world.kernel.after(0.0, world.outside, lambda: world.hosts[host].power_off("crash"))
        world.kernel.after(6.0, world.outside, lambda: world.start(host))

    def restart() -> None:
        world.referee.done("actuator kill", (host,))
        world.kernel.after(0.0, world.outside, lambda: world.actuator_kill(host))

    action: Callable[[], None] = power_cycle if whole_machine else restart
    world.crashes[host] = Crash(after=after, action=action)


def upgrade(world: World, program: str, *, newer: bool = True) -> None:
    """It ends, and another version of it is started."""
    world.log.say("scenario", f"{'upgrade' if newer else 'downgrade'} {program}")
    (world.newer.add if newer else world.newer.discard)(program)
    if program in world.hosts:
        world.actuator_restart(program)
    elif world.controllers:
        world.controller_kill()
        world.controller_start()


def libvirt(world: World, host: str, *, up: bool) -> None:
    world.log.say("scenario", f"libvirt {'up' if up else 'down'} on {host}")
    machine = world.hosts[host].machine
    if machine is not None:
        machine.libvirt.ready = up
        if up:
            machine.libvirt.mend()
