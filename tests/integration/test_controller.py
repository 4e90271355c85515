"""The controller on a real API server, with hosts that only pretend to run guests."""

import asyncio
import contextlib
import itertools
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from tandem_api.authority import Eligibility, Mode
from tandem_api.kinds.guest import ProofKind
from tandem_api.kinds.mirror import Mirror
from tandem_api.lease import lease_name
from tandem_api.meta import condition
from tandem_api.reasons import Reason
from tandem_kube import (
    EVENTS,
    GUESTS,
    MIRRORS,
    OWN,
    Changed,
    Conflict,
)
from tandem_lab.controlplane import ControlPlane, apply_path

from .pretended import PATIENCE_S, QUICK, World, assigned, controller, process, until, until_leads

pytestmark = pytest.mark.integration
MANIFESTS = Path(__file__).parents[2] / "manifests" / "base"


async def test_a_mirror_is_set_up_and_its_guest_placed_at_its_site(world: World) -> None:
    async with controller(world):
        await world.make_mirror("g")
        before = await _ports_of_others(world, await world.mirror("g"))
        await world.make_guest("g")
        mirror = await world.until_mirror("g", lambda m: m.status.authority is not None)
        numbers = mirror.status.device_numbers
        assert numbers is not None
        # The first that no mirror has; those of the tests before may not be gone yet.
        assert 7789 <= numbers.port <= next(n for n in itertools.count(7789) if n not in before)
        assert numbers.minors.keys() == {"root"}
        assert numbers.port not in await _ports_of_others(world, mirror)
        authority = mirror.status.authority
        assert authority is not None
        assert (authority.epoch, authority.incarnation) == (1, mirror.metadata.uid)
        assert not authority.initialised
        await world.first_sync("g")
        guest = await world.until_guest("g", lambda g: assigned(g) != "")
        assert guest.status.assignment is not None
        assert guest.status.assignment.host == world.host("a").name
        assert guest.status.assignment.proof is not None
        assert guest.status.assignment.proof.kind is ProofKind.UNOWNED
        assert guest.metadata.finalizers == ("tandem.dev/stop-before-delete",)


async def _ports_of_others(world: World, mirror: Mirror) -> set[int]:
    others = [Mirror.parse(item) for item in (await world.client.list(MIRRORS)).items]
    numbers = [m.status.device_numbers for m in others if m.metadata.uid != mirror.metadata.uid]
    return {each.port for each in numbers if each is not None}


async def test_a_running_guest_is_protected_and_then_nothing_is_written(world: World) -> None:
    async with controller(world):
        await world.running_on_a("g")
        guest = await world.until_guest("g", lambda g: g.status.protected == "True")
        assert guest.status.mirror == "InSync"
        running = condition(guest.status.conditions, "Running")
        assert running is not None
        assert running.status == "True"
        await asyncio.sleep(2)
        before = await _versions(world)
        await asyncio.sleep(7)
        assert await _versions(world) == before


async def _versions(world: World) -> dict[str, str]:
    found = {}
    for kind in OWN.values():
        for item in (await world.client.list(kind)).items:
            metadata = item["metadata"]
            found[f"{kind.name} {metadata['name']}"] = metadata["resourceVersion"]
    return found


async def test_a_lost_host_is_taken_over_with_proof(world: World) -> None:
    async with controller(world) as replica:
        await world.running_on_a("g")
        owner = (await world.mirror("g")).status.authority
        assert owner is not None
        world.host("a").alive = False
        await world.cut_link("g")
        guest = await world.until_guest("g", lambda g: assigned(g) == world.host("b").name)
        assignment = guest.status.assignment
        assert assignment is not None
        assert assignment.proof is not None
        assert assignment.proof.kind is ProofKind.LEASE_LOST
        assert assignment.proof.watchdog
        assert assignment.proof.instance == owner.owner_instance
        assert assignment.proof.at_epoch == owner.epoch
        lease = await world.client.get_lease(lease_name(world.host("a").name))
        assert assignment.proof.lease_version == lease["metadata"]["resourceVersion"]
        b = world.host("b")
        await b.claim(world.key("g"))
        await b.report_guest(world.key("g"), "Running", steps=True)
        guest = await world.until_guest("g", lambda g: g.status.phase == "Running")
        assert guest.status.last_takeover is not None
        assert {"leaseLost", "assigned", "authorityWon", "promoted", "domainStarted"} <= set(
            guest.status.last_takeover.steps
        )
        labels = {"result": "Succeeded", "reason": "LeaseLost"}
        registry = replica.program.metrics.registry
        await _until_true(lambda: registry.get_sample_value("tandem_takeovers_total", labels) == 1)


async def _until_true(holds: Callable[[], bool], timeout_s: float = 10) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0.05)


async def test_a_host_that_is_seen_over_the_link_is_not_taken_over(world: World) -> None:
    async with controller(world):
        await world.running_on_a("g")
        world.host("a").alive = False
        guest = await world.until_guest("g", lambda g: g.status.reason == "PeerStillConnected")
        assert assigned(guest) == world.host("a").name
        assert guest.status.phase == "Unknown"
        world.host("a").alive = True
        await world.until_guest("g", lambda g: g.status.phase == "Running")


async def test_an_outage_of_the_api_is_nobodys_silence(
    world: World, api_server: ControlPlane
) -> None:
    """Neither host can renew while the server stands still, for longer than a lease lasts."""
    async with controller(world):
        await world.running_on_a("g")
        await world.cut_link("g")
        serial = (await world.guest("g")).status.assignment
        api_server.pause()
        await asyncio.sleep(QUICK.lease_duration_seconds + 2)
        # The server wakes up before the hosts send anything: their Leases look old.
        for host in world.hosts.values():
            host.alive = False
        api_server.resume()
        await asyncio.sleep(2)
        assert (await world.guest("g")).status.assignment == serial
        for host in world.hosts.values():
            host.alive = True
        await asyncio.sleep(QUICK.lease_duration_seconds)
        assert (await world.guest("g")).status.assignment == serial


async def test_a_deleted_guest_goes_only_when_it_has_stopped(world: World) -> None:
    async with controller(world):
        await world.running_on_a("g")
        await world.client.delete(GUESTS, world.key("g"))
        guest = await world.until_guest("g", lambda g: assigned(g) == "")
        assert guest.status.assignment is not None
        assert guest.status.assignment.reason is Reason.DELETING
        await world.until_guest("g", lambda g: g.status.phase == "Stopping")
        await asyncio.sleep(1)
        assert (await world.guest("g")).metadata.finalizers
        a, mirror = world.host("a"), await world.mirror("g")
        await a.report_guest(world.key("g"), "Absent")
        authority = mirror.status.authority
        assert authority is not None
        released = authority.model_copy(
            update={"epoch": authority.epoch + 1, "owner": "", "owner_instance": ""}
        )
        await a.swap(mirror, released)
        await _until_gone(world, "g")


async def _until_gone(world: World, name: str) -> None:
    deadline_s = time.monotonic() + 10
    while time.monotonic() < deadline_s:
        found = (await world.client.list(GUESTS, world.namespace)).items
        if not any(item["metadata"]["name"] == name for item in found):
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{name} is still there")


async def test_an_invalid_guest_is_told_and_not_placed(world: World) -> None:
    async with controller(world):
        await world.make_mirror("g")
        await world.first_sync("g")
        await world.make_guest("g", placement={"preferredSite": "nowhere"})
        guest = await world.until_guest("g", lambda g: g.status.phase == "Blocked")
        valid = condition(guest.status.conditions, "SpecValid")
        assert valid is not None
        assert valid.status == "False"
        assert "there is no site nowhere" in valid.message
        assert guest.status.assignment is None


async def test_an_override_is_carried_out_once_the_other_host_is_lost(world: World) -> None:
    async with controller(world):
        await world.running_on_a("g")
        a, b, mirror = world.host("a"), world.host("b"), await world.mirror("g")
        authority = mirror.status.authority
        assert authority is not None
        no = Eligibility(eligible=False, reason=Reason.LINK_LOST)
        alone = authority.model_copy(
            update={
                "epoch": authority.epoch + 1,
                "mode": Mode.STANDALONE,
                "eligible": {**authority.eligible, b.name: no},
            }
        )
        await a.swap(mirror, alone)
        await world.cut_link("g")
        a.alive = False
        guest = await world.until_guest("g", lambda g: g.status.reason == "PeerHoldsStandalone")
        assert f"epoch: {alone.epoch}" in guest.status.message
        order = {"host": b.name, "epoch": alone.epoch, "acceptDataLoss": True, "by": "somebody"}
        await world.client.merge_patch(MIRRORS, world.key("g"), {"spec": {"override": order}})
        changed = await world.until_mirror(
            "g", lambda m: m.status.authority is not None and m.status.authority.epoch > alone.epoch
        )
        now = changed.status.authority
        assert now is not None
        assert (now.owner, now.mode) == ("", Mode.MIRRORED)
        assert now.may_own(b.name)
        assert not now.may_own(a.name)
        await world.until_guest("g", lambda g: assigned(g) == b.name)


async def test_another_client_may_write_between_read_and_write(world: World) -> None:
    """The controller's stale assignment is refused by the server, and made again."""
    async with controller(world):
        await world.running_on_a("g")

        async def disturb() -> None:
            while True:
                label = {"metadata": {"labels": {"n": uuid.uuid4().hex[:8]}}}
                with contextlib.suppress(Conflict):
                    await world.client.merge_patch(GUESTS, world.key("g"), label)
                await asyncio.sleep(0.005)

        disturbing = asyncio.create_task(disturb())
        world.host("a").alive = False
        await world.cut_link("g")
        await world.until_guest("g", lambda g: assigned(g) == world.host("b").name)
        disturbing.cancel()


GUESTS_IN_MASS = 200


async def _make_running(world: World, number: int, slots: asyncio.Semaphore) -> None:
    """A guest as it is when it has run on a for long, without going the way there."""
    a, b, name = world.host("a"), world.host("b"), f"g{number}"
    key, both = world.key(name), {"eligible": True, "reason": "InSync"}
    assignment = {"host": a.name, "site": a.site, "serial": 1, "reason": "InitialPlacement"}
    report = {"instance": str(a.instance), "state": "Running", "assignmentSerial": 1}
    async with slots:
        await world.make_mirror(name)
        mirror = await world.client.fetch(MIRRORS, key, timeout_s=PATIENCE_S)
        authority = {
            "epoch": 3,
            "incarnation": mirror.metadata.uid,
            "owner": a.name,
            "ownerInstance": str(a.instance),
            "eligible": {a.name: both, b.name: both},
        }
        numbers = {"port": 7789 + number, "minors": {"root": number}}
        await world.client.merge_patch_status(
            MIRRORS,
            key,
            {"authority": authority, "deviceNumbers": numbers},
            timeout_s=PATIENCE_S,
        )
        await a.report_replica(key, connected=True, role="Primary")
        await b.report_replica(key, connected=False)
        await world.make_guest(name)
        await world.client.merge_patch_status(
            GUESTS,
            key,
            {"assignment": assignment, "hosts": {a.name: report}},
            timeout_s=PATIENCE_S,
        )


async def _times_of_moves(world: World, target: str, since_s: float) -> list[float]:
    """When each guest was seen to be assigned to ``target``."""
    moved: dict[str, float] = {}
    async for event in world.client.watch(GUESTS, namespace=world.namespace):
        if isinstance(event, Changed):
            name, status = event.object["metadata"]["name"], event.object["status"]
            if status.get("assignment", {}).get("host") == target:
                moved.setdefault(name, time.monotonic() - since_s)
        if len(moved) == GUESTS_IN_MASS:
            break
    return list(moved.values())


async def test_a_mass_takeover_is_assigned_within_seconds(world: World) -> None:
    """From the loss of the lease to the last of many assignments."""
    slots = asyncio.Semaphore(8)
    await asyncio.gather(*(_make_running(world, n, slots) for n in range(GUESTS_IN_MASS)))
    async with process(world, "one"):
        await world.until_guest(f"g{GUESTS_IN_MASS - 1}", lambda g: g.status.phase == "Running", 60)
        await asyncio.sleep(5)
        world.host("a").alive = False
        died_s = time.monotonic()
        async with asyncio.timeout(150):
            moved_s = await _times_of_moves(world, world.host("b").name, died_s)
    first_s, last_s = min(moved_s), max(moved_s)
    print(
        f"{GUESTS_IN_MASS} guests: lease {QUICK.lease_duration_seconds:.2f} s, first assigned"
        f" after {first_s:.2f} s, last after {last_s:.2f} s"
    )
    # How long it takes depends on what else the machine does; that all are taken over does not.
    assert first_s > QUICK.lease_duration_seconds - QUICK.renew_interval_seconds


async def test_the_rights_in_the_manifests_are_enough(
    world: World, api_server: ControlPlane, tmp_path: Path
) -> None:
    """The whole way of a guest, events included, as the service account that is shipped."""
    apply_path(api_server, MANIFESTS)
    account = api_server.serviceaccount_kubeconfig("tandem-system", "tandem-controller")
    log = tmp_path / "log"
    async with process(world, "one", account, log) as program:
        await until_leads(world.client, "one", 15)
        await world.running_on_a("g")
        world.host("a").alive = False
        await world.cut_link("g")
        await world.until_guest("g", lambda g: assigned(g) == world.host("b").name)
        await until(
            lambda: world.client.list(EVENTS, world.namespace),
            lambda found: {"InitialPlacement", "LeaseLost"} <= {e["reason"] for e in found.items},
            PATIENCE_S,
        )
        table = api_server.kubectl("get", "guests,mirrors", "--namespace", world.namespace)
        assert "TakingOver" in table
        program.terminate()
        assert await asyncio.wait_for(program.wait(), 15) == 0
    said = log.read_text()
    assert " refused: " not in said
    assert "orbidden" not in said
    assert "Traceback" not in said
