"""What people write: orders, edits, deletions."""

from typing import Any

from sim.apiserver.failures import Failure
from sim.apiserver.policies import PERSON
from sim.commands.acts import ADDED_MINOR
from sim.world import World
from tandem_api.authority import PROTOCOL
from tandem_api.kinds.guest import Guest
from tandem_api.kinds.host import Host as HostObject
from tandem_api.kinds.mirror import Mirror
from tandem_api.kinds.site import Site
from tandem_api.kinds.tandem import NAME, Tandem
from tandem_api.meta import ObjectKey, Resource
from tandem_scenario.verbs import EVERYTHING


def set_failback(world: World, guest: str, policy: str) -> None:
    edit(world, guest, "failback", {"policy": policy, "afterSeconds": 5})


def set_prefers(world: World, guest: str, site: str) -> None:
    edit(world, guest, "placement", {"preferredSite": site})


def set_template(world: World, guest: str, template: str | None) -> None:
    """A person edits the hardware."""
    obj = world.find_guest(guest)
    if obj is not None:
        domain = obj.spec.domain.wire() | ({"template": template} if template else {})
        edit(world, guest, "domain", domain if template else _without(domain, "template"))


def _without(fields: dict[str, object], name: str) -> dict[str, object]:
    return {key: value for key, value in fields.items() if key != name}


def add_volume(world: World, guest: str, *, numbered: bool = False) -> None:
    """A person adds one to a mirror in use, where no rule of the server is in the way.

    ``numbered``: a controller of a release that let it pass has given it a number since.
    """
    world.log.say("scenario", f"add-volume {guest}{' numbered' if numbered else ''}")
    mirror = world.mirror(guest)
    raw = mirror.model_dump(mode="json", by_alias=True, exclude_none=True)
    raw["spec"]["volumes"].append({"name": "added", "size": "1Gi"})
    for replica in raw["spec"]["replicas"]:
        replica["devices"]["added"] = f"/dev/vg0/{guest}-added"
    if numbered:
        raw["status"]["deviceNumbers"]["minors"]["added"] = ADDED_MINOR
        raw["status"]["accepted"]["volumes"] = raw["spec"]["volumes"]
    world.api.server.put(Mirror.parse(raw), judged=False)


def set_maintenance(world: World, premises: str, *, on: bool) -> None:
    """A person has a site or a host emptied, or ends that."""
    kind: type[Site | HostObject] = HostObject if premises in world.hosts else Site
    world.log.say("scenario", f"{kind.__name__.lower()} {premises} maintenance={on}")
    raw = world.api.server.get(kind, ObjectKey(namespace="", name=premises)).model_dump(
        mode="json", by_alias=True, exclude_none=True
    )
    raw["spec"]["maintenance"] = on
    world.api.server.put(kind.parse(raw))


def set_paused(world: World, subject: str, *, on: bool) -> None:
    """A person has Tandem keep its hands off of a guest, host, site or all, or go on."""
    world.log.say("scenario", f"set {subject} paused={str(on).lower()}")
    if subject in {plan.name for plan in world.plan.guests}:
        edit(world, subject, "paused", on)
    elif subject in world.hosts:
        _pause(world, HostObject, subject, on=on)
    elif subject == EVERYTHING:
        _pause(world, Tandem, NAME, on=on)
    else:
        _pause(world, Site, subject, on=on)


def go_on(world: World) -> None:
    """Nothing is paused any more."""
    for plan in world.plan.guests:
        guest = world.find_guest(plan.name)
        if guest is not None and guest.spec.paused:
            set_paused(world, plan.name, on=False)
    for kind, subject in ((HostObject, ""), (Site, ""), (Tandem, EVERYTHING)):
        for found in world.api.server.every(kind):
            if found.spec.paused:  # type: ignore[attr-defined]  # each of them has it
                set_paused(world, subject or found.metadata.name, on=False)


def _pause(world: World, kind: type[Resource], name: str, *, on: bool) -> None:
    """The object of everything is made when it is first wanted."""
    key = ObjectKey(namespace="", name=name)
    found = world.api.server.objects.get((kind.__name__, key))
    raw: dict[str, Any] = {"metadata": {"name": name, "uid": f"uid-{name}"}, "spec": {}}
    if found is not None:
        raw = found.model_dump(mode="json", by_alias=True, exclude_none=True)
    raw["spec"]["paused"] = on
    world.api.server.put(kind.parse(raw))


def set_profile(world: World, site: str, profile: str) -> None:
    """A person edits a site. Its hosts go over to the new timing as they hear of it."""
    world.log.say("scenario", f"set {site} profile={profile}")
    obj = world.api.server.get(Site, ObjectKey(namespace="", name=site))
    raw = obj.model_dump(mode="json", by_alias=True, exclude_none=True)
    raw["spec"]["profile"] = profile
    world.api.server.put(Site.parse(raw))


def set_protocol(world: World, guest: str, protocol: str) -> None:
    """A person edits a mirror. The API refuses that while somebody owns it."""
    raw = world.mirror(guest).model_dump(mode="json", by_alias=True, exclude_none=True)
    raw["spec"]["protocol"] = protocol
    try:
        world.api.server.put(Mirror.parse(raw))
    except Failure as refused:
        world.log.say("scenario", f"set {guest} protocol={protocol} is refused: {refused}")
    else:
        world.log.say("scenario", f"set {guest} protocol={protocol}")


def override(world: World, guest: str, host: str, behind: int = 0) -> None:
    """A person gives the mirror to a host, at the epoch that it has now, or had before."""
    mirror = world.mirror(guest)
    authority = mirror.status.authority
    if authority is None or authority.epoch <= behind:
        return
    world.log.say("scenario", f"override {guest} {host} at epoch {authority.epoch - behind}")
    raw = mirror.model_dump(mode="json", by_alias=True, exclude_none=True)
    raw["spec"]["override"] = {
        "host": host,
        "epoch": authority.epoch - behind,
        "acceptDataLoss": True,
        "by": PERSON,
    }
    world.api.server.put(Mirror.parse(raw))


def override_stale(world: World, guest: str, host: str) -> None:
    """A person names an epoch that has passed. It must be refused."""
    override(world, guest, host, behind=1)


def delete(world: World, guest: str) -> None:
    """A person deletes the guest: it stops, then the object goes."""
    world.log.say("scenario", f"delete {guest}")
    obj = world.find_guest(guest)
    if obj is not None:
        metadata = obj.metadata.model_copy(update={"deletion_timestamp": world.log.wall("api")})
        world.api.server.put(obj.model_copy(update={"metadata": metadata}))


def recreate(world: World, guest: str) -> None:
    """The mirror and the guest are deleted by force and made again: other uids, the same names."""
    world.log.say("scenario", f"recreate {guest}")
    key = world.key(guest)
    plan = next(plan for plan in world.plan.guests if plan.name == guest)
    for kind in (Guest, Mirror):
        if (kind.__name__, key) in world.api.server.objects:
            world.api.server.remove(kind, key)
    world.make_guest(plan, generation=world.kernel.number("recreated") + 1)


def newer_protocol(world: World, guest: str) -> None:
    """A later version says that nobody who does not know its protocol may touch this mirror."""
    world.log.say("scenario", f"newer-protocol {guest}")
    mirror = world.mirror(guest)
    authority = mirror.status.authority
    if authority is None or authority.min_protocol > PROTOCOL:
        return
    changes = {"min_protocol": PROTOCOL + 1, "request_id": "newer#1"}
    raised = authority.model_copy(update={**changes, "epoch": authority.epoch + 1})
    status = mirror.status.model_copy(update={"authority": raised})
    world.api.server.put(mirror.model_copy(update={"status": status}))


def confirm_down(world: World, host: str) -> None:
    """A person's word that the instance that the API knows is powered off."""
    world.log.say("scenario", f"confirm-down {host}")
    obj = world.api.server.get(HostObject, ObjectKey(namespace="", name=host))
    beat = world.api.server.leases[host]
    spec = obj.spec.model_copy(update={"confirmed_down": beat.instance.split("/")[1]})
    world.api.server.put(obj.model_copy(update={"spec": spec}))


def edit(world: World, guest: str, field_name: str, value: object) -> None:
    """A person changes a guest's spec."""
    world.log.say("scenario", f"set {guest} {field_name}={value}")
    obj = world.find_guest(guest)
    if obj is None:
        return
    raw = obj.model_dump(mode="json", by_alias=True, exclude_none=True)
    raw["spec"][field_name] = value
    world.api.server.put(Guest.parse(raw))
