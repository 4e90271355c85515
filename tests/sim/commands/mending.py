"""Everything is well again, or all but what is to stay broken."""

from sim.commands import lasting
from sim.commands.acts import api_pause, api_up, clocks_right, pair, slow, unhang_disk, watch_lag
from sim.commands.acts import heal as heal_link
from sim.commands.ailing import heal, remove_damaged, widen
from sim.commands.api_faults import CONTROLLER
from sim.commands.moves import moves_of, unmove
from sim.commands.people import edit, go_on, set_maintenance
from sim.drbd.resync import end_stalled
from sim.host.fence_agent import ail
from sim.host.host import Host
from sim.network.links import MANAGEMENT, REPLICATION
from sim.programs.actuator import Crash
from sim.world import World
from tandem_api.kinds.host import Host as HostObject
from tandem_api.kinds.site import Site


def mend_all(world: World) -> None:
    """Links, API, programs, hosts and disks are well; people want everything running.

    What was to happen later does not happen any more.
    """
    lasting.mended(world)
    mend_all_but_broken(world)


def mend_all_but_broken(world: World) -> None:
    """As ``mend all``, but what was broken for good is."""
    world.mended_s = world.agents.mended_s = world.kernel.now_s
    world.ordered.clear()
    for plan in world.plan.guests:
        if world.find_guest(plan.name) is not None:
            edit(world, plan.name, "running", True)
    closed = [site.metadata.name for site in world.api.server.every(Site) if site.spec.maintenance]
    hosts = world.api.server.every(HostObject)
    closed += [host.metadata.name for host in hosts if host.spec.maintenance]
    for premises in closed:
        set_maintenance(world, premises, on=False)
    go_on(world)
    for plan in world.plan.guests:
        if any(not move.ended for move in moves_of(world, plan.name)):
            unmove(world, plan.name)
    heal_link(world, MANAGEMENT)
    if "link" not in world.broken_for_good:
        heal_link(world, REPLICATION)
    for program in (*world.hosts, CONTROLLER):
        if world.network.slow_s.get("" if program == CONTROLLER else program):
            slow(world, program, "0")
        if ("" if program == CONTROLLER else program) in world.api.watch_lag_s:
            watch_lag(world, program, "0")
    for plan in world.plan.guests:
        end_stalled(pair(world, plan.name))
    world.network.delay_s.clear()
    world.network.slow_way_s.clear()
    if world.api.paused:
        api_pause(world, stands=False)
    if "api" not in world.broken_for_good:
        api_up(world)
    heal(world)
    world.planning.takes_s = 0.0
    clocks_right(world)
    widen(world)
    world.ways.churning.clear()
    _one_controller(world)
    for host in world.hosts.values():
        _mend_host(world, host)
    for what in world.broken_for_good:
        lasting.broken_again(world, what)


def _mend_host(world: World, host: Host) -> None:
    crash = world.crashes.setdefault(host.name, Crash())
    crash.after, crash.awaited = -1, []
    if host.has_broken_disk and not host.ails & {"disk", "volume"}:
        world.kill(host.name)
    if host.has_hanging_disk and "hang" not in host.ails:
        unhang_disk(world, host.name)
    remove_damaged(world, host)
    ail(world.agents.outlets[host.name], "")
    _mend_programs(world, host.name)


def _mend_programs(world: World, name: str) -> None:
    """On, awake, and every program on it well."""
    host = world.hosts[name]
    if host.machine is None:
        world.boot_if_off(host)
    elif host.machine.group.paused:
        world.resume(name)
    machine, actuator = host.machine, world.actuator_of(name)
    if machine is not None:
        if "libvirt" not in host.ails:
            machine.libvirt.mend()
        if actuator is None:
            world.actuator_start(name)
        else:
            world.kernel.resume(actuator.group)


def _one_controller(world: World) -> None:
    """One, and it runs."""
    world.controller_resume()
    for controller in world.controllers[:-1]:
        controller.group.stop()
    world.controllers = world.controllers[-1:]
    world.controller_start()
