"""What each command of a scenario does in the simulated world.

``tandem_scenario.verbs`` has their forms; what has no entry here, the simulator cannot do, and it
refuses a file that wants it. Called by ``player`` and ``fuzz``.
"""

from collections.abc import Callable, Mapping

from sim import acts, ailing, api_faults, lasting, mending, moves, orders, people, person
from sim.resync import CopyEnds
from sim.world import World
from tandem_api.kinds.guest_move import How
from tandem_scenario.scenario import Step
from tandem_scenario.verbs import Act

DOING: Mapping[str, Callable[..., None]] = {
    "kill": World.kill,
    "start": World.start,
    "pause": World.pause,
    "resume": World.resume,
    "cut": acts.cut,
    "cut in": lambda world, link, host: acts.cut(world, link, host, "in"),
    "cut out": lambda world, link, host: acts.cut(world, link, host, "out"),
    "heal": acts.heal,
    "cut replication": acts.part,
    "heal replication": acts.join,
    "delay": acts.delay,
    "link narrow": lambda world: ailing.squeeze(world, narrow=True),
    "link wide": lambda world: ailing.squeeze(world, narrow=False),
    "slow": acts.slow,
    "slow in": lambda world, program, seconds: acts.slow_way(world, program, "in", seconds),
    "slow out": lambda world, program, seconds: acts.slow_way(world, program, "out", seconds),
    "plan slow": acts.plan_slow,
    "watch lag": acts.watch_lag,
    "watch silent": acts.watch_silent,
    "watch close": acts.watch_close,
    "watch expire": api_faults.watch_expire,
    "watch lose": api_faults.watch_lose,
    "watch double": api_faults.watch_double,
    "api down": acts.api_down,
    "api up": acts.api_up,
    "api pause": lambda world: acts.api_pause(world, stands=True),
    "api resume": lambda world: acts.api_pause(world, stands=False),
    "api restart": acts.api_restart,
    "api backup": acts.api_backup,
    "api restore": acts.api_restore,
    "api refuse": api_faults.refuse,
    "api refuse writes": lambda world, who, code: api_faults.refuse(world, who, code, "writes"),
    "api refuse half": lambda world, who, code: api_faults.refuse(world, who, code, "half"),
    "api refuse objects": lambda world, who, code: api_faults.refuse(world, who, code, "objects"),
    "api narrow": api_faults.only_leases,
    "api refuse done": lambda world, who, code: api_faults.refuse(world, who, code, "done"),
    "api mute": api_faults.mute,
    "api accept": api_faults.accept,
    "api stale": lambda world: api_faults.stale(world, stands=True),
    "api fresh": lambda world: api_faults.stale(world, stands=False),
    "api compact": api_faults.compact,
    "controller kill": World.controller_kill,
    "controller start": World.controller_start,
    "controller pause": World.controller_pause,
    "controller resume": World.controller_resume,
    "controller second": World.controller_second,
    "kopf kill": ailing.kopf_kill,
    "kopf give-up": ailing.kopf_give_up,
    "kopf lag": ailing.kopf_lag,
    "actuator kill": World.actuator_kill,
    "actuator stop": World.actuator_stop,
    "actuator start": World.actuator_start,
    "actuator pause": acts.actuator_pause,
    "actuator resume": acts.actuator_resume,
    "handler kill": acts.handler_kill,
    "drbd spoil": ailing.misconfigure,
    "drbd correct": ailing.correct_drbd,
    "drbd events": ailing.drbd_events,
    "drbd skip": ailing.drbd_skip,
    "starve": ailing.starve,
    "libvirt down": lambda world, host: acts.libvirt(world, host, up=False),
    "libvirt up": lambda world, host: acts.libvirt(world, host, up=True),
    "libvirt refuse": acts.libvirt_refuse,
    "libvirt slow": acts.libvirt_slow,
    "libvirt hang": acts.libvirt_hang,
    "libvirt linger": acts.libvirt_linger,
    "libvirt pause": lambda world, host: ailing.libvirt_pause(world, host, stands=True),
    "libvirt resume": lambda world, host: ailing.libvirt_pause(world, host, stands=False),
    "libvirt hold": ailing.libvirt_hold,
    "libvirt late": ailing.libvirt_late,
    "libvirt events": ailing.libvirt_events,
    "clock": acts.clock,
    "tcp hide": ailing.hide_tcp,
    "tcp show": ailing.show_tcp,
    "clock jump": acts.clock_jump,
    "clock jump back": lambda world, whose, by: acts.clock_jump(world, whose, f"-{by}"),
    "clock right": acts.clock_right,
    "watchdog away": acts.watchdog_away,
    "watchdog back": ailing.watchdog_back,
    "watchdog refuse": ailing.watchdog_refuse,
    "keeper kill": ailing.keeper_kill,
    "keeper pause": ailing.keeper_pause,
    "keeper resume": ailing.keeper_resume,
    "keeper starve": ailing.keeper_starve,
    "files full": ailing.files_full,
    "files full run": ailing.run_full,
    "files read-only": ailing.files_read_only,
    "files unsynced": ailing.files_unsynced,
    "files unreadable": ailing.files_unreadable,
    "files heal": ailing.files_heal,
    "fail-disk": acts.fail_disk,
    "hang-disk": acts.hang_disk,
    "hang-disk reads": acts.hang_disk_reads,
    "unhang-disk": acts.unhang_disk,
    "detach": acts.detach,
    "stall-resync": lambda world, guest: acts.stall_resync(world, guest, CopyEnds.ON_NEITHER),
    "stall-resync unheard": lambda world, guest: acts.stall_resync(world, guest, CopyEnds.UNHEARD),
    "verify": acts.verify,
    "crash": acts.crash,
    "crash-after-grant": acts.crash_after_grant,
    "churn": lambda world, guest: moves.churn(world, guest, churns=True),
    "calm": lambda world, guest: moves.churn(world, guest, churns=False),
    "set running": lambda world, guest, on: people.edit(world, guest, "running", on == "true"),
    "set failback": people.set_failback,
    "set prefers": people.set_prefers,
    "spoil": lambda world, guest: people.set_template(world, guest, acts.WITH_AN_IMAGE),
    "correct": lambda world, guest: people.set_template(world, guest, None),
    "add-volume": people.add_volume,
    "add-volume numbered": lambda world, guest: people.add_volume(world, guest, numbered=True),
    "set maintenance": lambda world, site, on: people.set_maintenance(world, site, on=on == "true"),
    "set profile": people.set_profile,
    "set paused": lambda world, subject, on: people.set_paused(world, subject, on=on == "true"),
    "set protocol": people.set_protocol,
    "move": moves.move,
    "move live": lambda world, *what: moves.move(world, *what, how=How.LIVE),
    "move within": moves.move,
    "unmove": moves.unmove,
    "override": people.override,
    "override-stale": people.override_stale,
    "confirm-down": people.confirm_down,
    "delete": people.delete,
    "recreate": people.recreate,
    "upgrade": acts.upgrade,
    "downgrade": lambda world, program: acts.upgrade(world, program, newer=False),
    "newer-protocol": people.newer_protocol,
    "lose-records": acts.lose_records,
    "damage-records": ailing.damage_records,
    "promote-by-hand": acts.promote_by_hand,
    "allow-two-primaries": acts.allow_two_primaries,
    "bug": ailing.bug,
    "bug controller": ailing.bug_of_controller,
    "fix": ailing.fix,
    "break": lasting.break_for_good,
    "obey": person.obey,
    "mend all": mending.mend_all,
    "mend all but broken": mending.mend_all_but_broken,
}
"""Verb → what it does, called with the world and the command's arguments."""


def take(world: World, step: Step) -> None:
    """Do it now, or right after the effect that it waits for."""
    if step.upon is None:
        do(world, step.act)
    else:
        world.upon(step.upon, lambda: do(world, step.act))


def do(world: World, act: Act) -> None:
    """Raises: KeyError: there is no such verb here; ``require_verbs`` has told so before."""
    world.referee.done(act.verb, act.arguments)
    orders.note(world, act)
    DOING[act.verb](world, *act.arguments)
