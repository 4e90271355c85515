"""What is broken for good: over boots, restarts and healing, until ``mend all``.

``break WHAT`` breaks it, ``mend all but broken`` mends everything else. Called by ``verbs`` and
``acts``.
"""

from collections.abc import Callable, Mapping

from sim.apiserver.api import Refusal
from sim.commands.api_faults import narrow
from sim.drbd import hanging
from sim.network.links import MANAGEMENT, REPLICATION
from sim.world import World


def of_host(what: str) -> tuple[str, str]:
    """``disk@burjassot-1`` → its kind and its host; a link or the API are of no host."""
    kind, _, host = what.partition("@")
    return kind, host


def break_for_good(world: World, what: str) -> None:
    world.log.say("scenario", f"break {what}")
    world.broken_for_good.setdefault(what)
    broken_again(world, what)


def broken_again(world: World, what: str) -> None:
    """It is broken now, whatever became of it meanwhile."""
    kind, host = of_host(what)
    BREAKING[kind](world, host)


def mended(world: World) -> None:
    """Nothing is broken for good any more. What is broken still is mended by ``mend all``."""
    world.broken_for_good.clear()
    for host in world.hosts.values():
        host.ails.clear()


def _disk(world: World, name: str) -> None:
    host = world.hosts[name]
    host.ails.add("disk")
    for replica in host.machine.replicas.values() if host.machine else ():
        whole = [name for name, backing in replica.backings.items() if not backing.broken]
        if whole:
            replica.fail_disk(whole)
    host.break_disks()


def _volume(world: World, name: str) -> None:
    """The last disk of each mirror there."""
    host = world.hosts[name]
    host.ails.add("volume")
    for replica in host.machine.replicas.values() if host.machine else ():
        last = list(replica.backings)[-1:]
        replica.fail_disk([name for name in last if not replica.backings[name].broken])
    host.break_disks(last_alone=True)


def _hang(world: World, name: str, *, reads: bool = False) -> None:
    """Its disks do not answer, until it is switched off."""
    host = world.hosts[name]
    host.ails.add("hang")
    for replica in host.machine.replicas.values() if host.machine else ():
        hanging.hang(replica, list(replica.volumes), reads=reads)


def _libvirt(world: World, name: str) -> None:
    host = world.hosts[name]
    host.ails.add("libvirt")
    if host.machine is not None:
        host.machine.libvirt.ready = False


def _start(world: World, name: str) -> None:
    host = world.hosts[name]
    host.ails.add("start")
    if host.machine is not None:
        host.machine.libvirt.refuses_to_start = True


def _watchdog(world: World, name: str) -> None:
    """Its device cannot be opened any more. One that is open is fed on."""
    host = world.hosts[name]
    host.has_watchdog = False
    if host.machine is not None:
        host.machine.hardware.present = False


def _power(world: World, name: str) -> None:
    host = world.hosts[name]
    host.ails.add("power")
    host.power_off("power cut")


def _files(world: World, name: str) -> None:
    world.hosts[name].files.read_only = True


LATE_S = 1.1
"""By so much the API's answers come too late for a heartbeat to be confirmed."""


def _refused(world: World, name: str) -> None:
    """The API server knows its credentials no more."""
    refusal = Refusal(401, host=name)
    if refusal not in world.api.refusals:
        world.api.refusals.append(refusal)


def is_heard(world: World, host: str) -> bool:
    """Whether it can ask the API, and hears of it in time."""
    refused = any(refusal.host == host for refusal in world.api.refusals)
    return world.api.reachable(host) and not refused and f"late@{host}" not in world.broken_for_good


def _config(world: World, name: str) -> None:
    """drbdadm cannot read its files."""
    world.hosts[name].drbd_misconfigured = True


BREAKING: Mapping[str, Callable[[World, str], None]] = {
    "disk": _disk,
    "volume": _volume,
    "hang": _hang,
    "unread": lambda world, name: _hang(world, name, reads=True),
    "libvirt": _libvirt,
    "start": _start,
    "watchdog": _watchdog,
    "power": _power,
    "files": _files,
    "config": _config,
    "refused": _refused,
    "narrow": narrow,
    "late": lambda world, name: world.network.slow_way_s.update({(name, "in"): LATE_S}),
    "management": lambda world, name: world.network.cut(MANAGEMENT, name),
    "link": lambda world, _: world.network.cut(REPLICATION),
    "path": lambda world, _: world.network.squeeze(narrow=True),
    "api": lambda world, _: world.api.set_up(False),
}
"""By kind. Each may be done again, and then changes nothing."""
