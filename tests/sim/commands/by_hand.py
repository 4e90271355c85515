"""What a person does with drbdadm and virsh, past Tandem. Called by ``verbs``."""

from collections.abc import Generator
from contextlib import suppress

import libvirt

from sim.engine.kernel import Command, Sleep
from sim.libvirt.connection import Active
from sim.libvirt.guest import Run
from sim.world import World
from tandem_actuator.ports import CommandFailed
from tandem_api.vocabulary import Role

SHELL_S = 0.1
"""How soon the next command follows."""


def promote_by_hand(world: World, host: str, guest: str) -> None:
    """Somebody runs ``drbdadm primary --force``. What becomes of the data is not Tandem's doing."""
    world.log.say("scenario", f"promote-by-hand {host} {guest}")
    machine = world.hosts[host].machine
    replica = machine.replicas.get(world.mirror(guest).drbd_name) if machine else None
    if machine is not None and replica is not None and replica.role is Role.SECONDARY:
        world.kernel.spawn(machine.group, replica.promote(force=True))


def allow_two_primaries(world: World, guest: str) -> None:
    """Somebody runs ``drbdadm net-options --allow-two-primaries=yes`` at each host that is on."""
    world.log.say("scenario", f"allow-two-primaries {guest}")
    name = world.mirror(guest).drbd_name
    for host in world.hosts.values():
        if host.machine is not None and name in host.machine.replicas:
            with suppress(CommandFailed):
                host.machine.replicas[name].allow_two_primaries(allowed=True)


def start_by_hand(world: World, host: str, guest: str) -> None:
    """Somebody ends it where it runs (``virsh destroy``), has its devices Secondary there, and runs
    ``drbdadm primary`` and ``virsh create`` here, with what ``virsh dumpxml`` had shown there.
    """
    world.log.say("scenario", f"start-by-hand {host} {guest}")
    key, machine = world.key(guest), world.hosts[host].machine
    for run in world.referee.executing(str(key)):
        there = world.hosts[run.host].machine
        if machine is not None and there is not None and run.host != host:
            active = there.libvirt.active[f"{key.namespace}.{key.name}"]
            world.kernel.spawn(machine.group, _carried(world, host, run, active))


def _carried(world: World, host: str, run: Run, known: Active) -> Generator[Command, bool, None]:
    machine = world.hosts[host].machine
    assert machine is not None
    half = machine.half_of(known.domain.name, run)
    run.end("destroyed by a person")
    while run.replica.opened:
        yield Sleep(SHELL_S)
    try:
        run.replica.demote()
        yield from half.replica.promote(force=False)
        active = machine.libvirt.admit(known, half)
    except CommandFailed as error:
        world.log.say("scenario", f"start-by-hand {host} is refused: {error}")
        return
    yield Sleep(SHELL_S)
    if active.process.dying or active.process.gone:
        return
    half.by_hand, half.number = True, world.kernel.number("run")
    half.ordered_s = world.kernel.now_s
    active.process.begun, active.state = True, libvirt.VIR_DOMAIN_RUNNING
    half.begin()
    machine.libvirt.tell_of(known.domain.name)
