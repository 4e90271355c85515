"""A person who does what a guest's status says, to the letter, and gives no word that is not true.

Called by ``verbs``; ``liveness`` asks what was done.
"""

import json
import re

from sim.apiserver.policies import PERSON
from sim.commands.lasting import is_heard
from sim.commands.people import set_maintenance, set_paused
from sim.drbd import hanging
from sim.libvirt.guest import Run
from sim.world import World
from tandem_api.kinds.host import Host as HostObject
from tandem_api.kinds.mirror import Mirror
from tandem_api.kinds.site import Site
from tandem_api.meta import ObjectKey
from tandem_scenario.verbs import EVERYTHING

OVERRIDE = re.compile(r"spec\.override: \{host: (\S+), epoch: (\d+), acceptDataLoss: true, by: ")
DETACH = re.compile(r"drbdadm detach --force (\S+?)/\d+")
OFF = re.compile(r"If it is powered off, say so: set spec\.confirmedDown to (\S+) on host (\S+)")
UNARMED = re.compile(
    r"(\S+) requires a watchdog and has none armed; set spec\.watchdog to Optional"
)
POWER = re.compile(
    r"(?:, or|; if that does not come,|If it does not come back by itself,"
    r"|If the guest stands still there,) power (\S+) off"
)
PAUSED = re.compile(r"It is paused by (.+?): to have it done set spec\.paused to false there")
CLOSED = re.compile(r"(\S+) is in maintenance\. To have it used all the same set spec\.maintenance")
SLOW = re.compile(r"on the Site of (\S+) set profile: Custom and heartbeat:(\{[^}]*\})")


def obey(world: World, guest: str) -> None:
    """What the status asks for, if it asks for anything and it is true what they would say."""
    for order in orders(world, guest):
        world.log.say("scenario", f"a person does as {guest} says: {order}")
        world.obeyed.setdefault(guest, []).append(order)
        what, *words = order.split()
        if what == "override":
            _override(world, guest, *words)
        elif what == "confirmedDown":
            _edit_host(world, words[1], "confirmedDown", words[0])
        elif what == "detach":
            _detach(world, guest)
        elif what == "power":
            world.kill(*words)
        elif what == "maintenance":
            set_maintenance(world, *words, on=False)
        elif what == "paused":
            _go_on(world, guest, *words)
        elif what == "heartbeat":
            _edit_site(world, *words)
        else:
            _edit_host(world, words[0], "watchdog", "Optional")


def orders(world: World, guest: str) -> list[str]:
    """What its message asks for, in short."""
    found = world.find_guest(guest)
    message = found.status.message if found is not None else ""
    asked = [f"override {host} {epoch}" for host, epoch in OVERRIDE.findall(message)]
    asked += [
        f"confirmedDown {boot} {host}"
        for boot, host in OFF.findall(message)
        if host in world.hosts and world.hosts[host].machine is None
    ]
    asked += [f"power {host}" for host in POWER.findall(message) if _useless(world, host)]
    asked += [f"detach {name}" for name in dict.fromkeys(DETACH.findall(message))]
    asked += [f"maintenance {premises}" for premises in CLOSED.findall(message)]
    asked += [f"heartbeat {host} {numbers}" for host, numbers in SLOW.findall(message)]
    asked += [
        f"paused {subject}" for by in PAUSED.findall(message) for subject in by.split(" and ")
    ]
    return asked + [f"watchdog {host}" for host in UNARMED.findall(message)]


def _useless(world: World, host: str) -> bool:
    """Whether it is on, and every guest there stands still for want of its device."""
    histories = world.referee.histories.values()
    here = [run for history in histories for run in history.alive if run.host == host]
    return world.hosts[host].machine is not None and all(_stands_still(world, run) for run in here)


def _stands_still(world: World, run: Run) -> bool:
    waits = bool(run.replica.in_flight) and run.replica.connected and world.network.narrow
    return bool(run.replica.suspended) or run.replica.keeps_its_qemu or waits


def at_a_price(world: World, guest: str) -> bool:
    """Whether its message leaves it to them to power a host off, and says what that costs: every
    other guest that runs there. They do not do that for this one, but it is theirs to decide.
    """
    asked = _asked_off(world, guest)
    return bool(asked) and not any(_unnamed(world, guest, host) for host in asked)


def hidden_price(world: World, guest: str) -> list[str]:
    """The guests that would end if they did as it says, and that it does not name."""
    heard = [host for host in _asked_off(world, guest) if is_heard(world, host)]
    return [other for host in heard for other in _unnamed(world, guest, host)]


def _asked_off(world: World, guest: str) -> list[str]:
    found = world.find_guest(guest)
    asked = POWER.findall(found.status.message) if found is not None else []
    return [host for host in asked if world.hosts[host].machine is not None]


def _unnamed(world: World, guest: str, host: str) -> list[str]:
    message, mine = world.guest(guest).status.message, str(world.key(guest))
    running = [
        other
        for other in world.referee.histories
        if other != mine and any(run.host == host for run in world.referee.executing(other))
    ]
    return [other for other in running if other not in message]


def _detach(world: World, guest: str) -> None:
    """At the owner of its mirror."""
    mirror = world.mirror(guest)
    authority = mirror.status.authority
    host = world.hosts[authority.owner] if authority and authority.owner else None
    machine = host.machine if host is not None else None
    replica = machine.replicas.get(mirror.drbd_name) if machine is not None else None
    if replica is not None and replica.hangs:
        hanging.detach(replica)


def _override(world: World, guest: str, host: str, epoch: str) -> None:
    raw = world.mirror(guest).model_dump(mode="json", by_alias=True, exclude_none=True)
    order = {"host": host, "epoch": int(epoch), "acceptDataLoss": True, "by": PERSON}
    raw["spec"]["override"] = order
    world.api.server.put(Mirror.parse(raw))


def _go_on(world: World, guest: str, kind: str, name: str) -> None:
    if kind == "Mirror":
        raw = world.mirror(guest).model_dump(mode="json", by_alias=True, exclude_none=True)
        raw["spec"]["paused"] = False
        world.api.server.put(Mirror.parse(raw))
        return
    subject = {"Guest": guest, "Tandem": EVERYTHING}.get(kind, name)
    set_paused(world, subject, on=False)


def _edit_host(world: World, host: str, field: str, value: str) -> None:
    obj = world.api.server.get(HostObject, ObjectKey(namespace="", name=host))
    raw = obj.model_dump(mode="json", by_alias=True, exclude_none=True)
    raw["spec"][field] = value
    world.api.server.put(HostObject.parse(raw))


def _edit_site(world: World, host: str, numbers: str) -> None:
    key = ObjectKey(namespace="", name=host)
    site = world.api.server.get(HostObject, key).spec.site
    obj = world.api.server.get(Site, ObjectKey(namespace="", name=site))
    raw = obj.model_dump(mode="json", by_alias=True, exclude_none=True)
    raw["spec"] |= {"profile": "Custom", "heartbeat": json.loads(numbers)}
    world.api.server.put(Site.parse(raw))
