"""Refusals that the example files do not show: who was first, unreadable objects, templates."""

import copy
import json
from typing import Any

import pytest

from tandem_api.check.catalogue import Catalogue
from tandem_api.check.guests import guest_problems
from tandem_api.check.parsing import LAST_APPLIED, dotted
from tandem_api.check.template import template_problems
from tandem_api.check.validation import host_problems, parse_problems
from tandem_api.kinds.domain import Domain
from tandem_api.kinds.guest import Guest
from tandem_api.kinds.host import Host
from tandem_api.kinds.mirror import Accepted, Mirror
from tandem_api.kinds.site import Site
from tandem_api.meta import ObjectKey, Problem
from tandem_examples import PRODUCTION, Raw, catalogue_of, documents, merged, problems_of
from tandem_hostile import guest as hostile_guest
from tandem_hostile import mirror as hostile_mirror


def named(kind: str, name: str) -> Raw:
    raws = documents(PRODUCTION)
    found = next(r for r in raws if (r["kind"], r["metadata"]["name"]) == (kind, name))
    return copy.deepcopy(found)


def changed(raw: Raw, **metadata: str) -> Raw:
    return {**raw, "metadata": {**raw["metadata"], **metadata}}


class TestWhoWasThereFirst:
    def test_the_older_guest_keeps_the_mirror(self) -> None:
        older = Guest.parse(changed(named("Guest", "nominas"), creationTimestamp="2026-01-01"))
        newer = Guest.parse(
            changed(named("Guest", "nominas"), name="a", creationTimestamp="2026-01-02")
        )
        catalogue = catalogue_of([older, newer, Mirror.parse(named("Mirror", "nominas"))])
        assert not any(p.field == "spec.mirror" for p in guest_problems(older, catalogue))
        assert any(p.field == "spec.mirror" for p in guest_problems(newer, catalogue))

    def test_the_running_guest_keeps_it_whatever_its_age(self) -> None:
        assignment = {"host": "tarongers-2", "serial": 1, "reason": "InitialPlacement"}
        raw = {**named("Guest", "nominas"), "status": {"assignment": assignment}}
        running = Guest.parse(changed(raw, name="z", creationTimestamp="2026-01-02"))
        idle = Guest.parse(changed(named("Guest", "nominas"), creationTimestamp="2026-01-01"))
        catalogue = catalogue_of([running, idle, Mirror.parse(named("Mirror", "nominas"))])
        assert not any(p.field == "spec.mirror" for p in guest_problems(running, catalogue))
        assert any(p.field == "spec.mirror" for p in guest_problems(idle, catalogue))

    def test_one_of_two_equals_is_told(self) -> None:
        first = Host.parse(named("Host", "burjassot-1"))
        second = Host.parse(changed(named("Host", "burjassot-1"), name="burjassot-9"))
        catalogue = catalogue_of([first, second, Site.parse(named("Site", "burjassot"))])
        told = [len(host_problems(host, catalogue)) for host in (first, second)]
        assert told == [0, 1]


def test_an_unreadable_object_is_not_called_absent() -> None:
    broken = named("Site", "burjassot")
    broken["spec"] = {"profile": "Quick"}
    found = problems_of(merged(documents(PRODUCTION), [broken]))
    assert found == [
        "Site burjassot: spec.profile: is 'Quick'; choose 'Default', 'Fast' or 'Custom'"
    ]


def test_a_guest_of_an_unreadable_mirror_is_not_at_fault() -> None:
    guest = Guest.parse(named("Guest", "nominas"))
    key = ObjectKey(namespace="personal", name="nominas")
    sites = [Site.parse(named("Site", "tarongers"))]
    assert guest_problems(guest, catalogue_of(sites, [("Mirror", key)])) == []
    assert len(guest_problems(guest, catalogue_of(sites))) == 1


def test_the_preferred_site_must_hold_a_replica() -> None:
    elsewhere = {**named("Site", "burjassot"), "metadata": {"name": "blasco"}}
    guest = named("Guest", "nominas")
    guest["spec"]["placement"] = {"preferredSite": "blasco"}
    assert problems_of(merged(documents(PRODUCTION), [elsewhere, guest])) == [
        "Guest personal/nominas: spec.placement.preferredSite: the mirror has no replica in"
        " blasco; choose burjassot or tarongers"
    ]


def test_memory_that_one_host_can_give_is_no_problem() -> None:
    guest = named("Guest", "nominas")
    guest["spec"]["domain"]["memory"] = "64Gi"  # tarongers-2 has 32Gi, burjassot-2 64Gi
    assert problems_of(merged(documents(PRODUCTION), [guest])) == []


def test_a_host_without_capacity_can_give_anything() -> None:
    host, guest = named("Host", "tarongers-2"), named("Guest", "nominas")
    del host["spec"]["capacity"]
    guest["spec"]["domain"]["memory"] = "2Ti"
    assert problems_of(merged(documents(PRODUCTION), [host, guest])) == []


class TestChangesOfAMirror:
    def mirror(self, **spec: Any) -> Raw:
        raw = named("Mirror", "bancuv3")
        accepted = Accepted.of(Mirror.parse(raw).spec).wire()
        return {**raw, "spec": {**raw["spec"], **spec}, "status": {"accepted": accepted}}

    def problems(self, *raws: Raw) -> list[str]:
        return problems_of(merged(documents(PRODUCTION), raws))

    def test_the_accepted_spec_itself_is_fine(self) -> None:
        assert self.problems(self.mirror()) == []

    def test_growing_and_another_unit_are_fine(self) -> None:
        sizes = [{"name": "root", "size": "20480Mi"}, {"name": "data", "size": "101Gi"}]
        assert self.problems(self.mirror(volumes=sizes)) == []

    def test_the_protocol_may_change_when_nothing_runs(self) -> None:
        assert self.problems(self.mirror(protocol="A")) == []

    def test_the_protocol_may_not_change_under_a_guest(self) -> None:
        guest = named("Guest", "bancuv3")
        assignment = {"host": "burjassot-1", "serial": 1, "reason": "InitialPlacement"}
        guest["status"] = {"assignment": assignment}
        assert self.problems(self.mirror(protocol="A"), guest) == [
            "Mirror secretaria/bancuv3: spec.protocol: cannot change from C to A while guest"
            " secretaria/bancuv3 runs on burjassot-1; set it back to C, or set running: false on"
            " the guest first"
        ]

    def test_reordering_is_told_once(self) -> None:
        sizes = [{"name": "data", "size": "100Gi"}, {"name": "root", "size": "20Gi"}]
        found = self.problems(self.mirror(volumes=sizes))
        assert len(found) == 1
        assert "they must begin with root, data" in found[0]

    def in_use(self, *names: str, volumes: list[dict[str, str]]) -> Raw:
        """Set up with these volumes; ``volumes`` are what the spec has now."""
        raw = self.mirror(volumes=volumes)
        replicas = [
            {**replica, "devices": {v["name"]: f"/dev/vg0/{v['name']}" for v in volumes}}
            for replica in raw["spec"]["replicas"]
        ]
        authority = {"epoch": 7, "incarnation": "i"}
        minors = {name: number for number, name in enumerate(names)}
        status = {"authority": authority, "deviceNumbers": {"port": 7789, "minors": minors}}
        spec = {**raw["spec"], "replicas": replicas}
        return {**raw, "spec": spec, "status": {**raw["status"], **status}}

    def test_a_volume_that_is_added_is_told_with_what_is_in_force(self) -> None:
        sizes = {"root": "20Gi", "data": "100Gi", "logs": "1Gi"}
        volumes = [{"name": name, "size": size} for name, size in sizes.items()]
        (found,) = self.problems(self.in_use("root", "data", volumes=volumes))
        assert found.startswith("Mirror secretaria/bancuv3: spec.volumes: cannot be added once")
        assert found.endswith("it goes on with root, data, without logs")

    def test_one_that_was_accepted_and_never_set_up_may_go(self) -> None:
        volumes = [{"name": "root", "size": "20Gi"}]
        guest = named("Guest", "bancuv3")
        guest["spec"]["domain"]["disks"] = [{"volume": "root"}]
        assert self.problems(self.in_use("root", volumes=volumes), guest) == []

    def test_a_guest_cannot_use_what_was_not_set_up(self) -> None:
        sizes = {"root": "20Gi", "data": "100Gi"}
        volumes = [{"name": name, "size": size} for name, size in sizes.items()]
        told = self.problems(self.in_use("root", volumes=volumes))
        assert (
            "Guest secretaria/bancuv3: spec.domain.disks[1].volume: mirror secretaria/bancuv3 has"
            " no volume data, only root; name one of them"
        ) in told

    def test_replicas_may_swap_places(self) -> None:
        replicas = list(reversed(named("Mirror", "bancuv3")["spec"]["replicas"]))
        assert self.problems(self.mirror(replicas=replicas)) == []


class TestParsing:
    def guest(self, **spec: Any) -> Raw:
        raw = named("Guest", "nominas")
        return {**raw, "spec": {**raw["spec"], **spec}}

    @pytest.mark.parametrize(
        ("spec", "problem"),
        [
            ({"mirror": None}, "spec.mirror: is empty; give it a value, or remove it"),
            ({"mirror": "A_b"}, "spec.mirror: 'A_b' is no name; use lower-case letters, digits"),
            ({"mirror": "a" * 64}, "spec.mirror: is too long; use 63 characters at most"),
            ({"mirror": 7}, "spec.mirror: 7 is not text; put it in quotes"),
            ({"priority": -1}, "spec.priority: is -1; must be at least 0"),
            ({"priority": 1001}, "spec.priority: is 1001; must be at most 1000"),
            ({"priority": "high"}, "spec.priority: 'high' is not a whole number; correct it"),
            ({"running": "perhaps"}, "spec.running: 'perhaps' is not true or false; correct it"),
            ({"placement": []}, "spec.placement: a list is not a group of fields; correct it"),
            ({"failover": {"policy": "Never"}}, "spec.failover.policy: is 'Never'; choose"),
            ({"domain": {"memory": "1Gi"}}, "spec.domain.disks: is missing; add it"),
            (
                {"domain": {"memory": "1Gi", "disks": []}},
                "spec.domain.disks: has 0 items; must have at least 1",
            ),
        ],
    )
    def test_each_mistake_has_its_sentence(self, spec: dict[str, Any], problem: str) -> None:
        found = parse_problems(Guest, self.guest(**spec))
        assert len(found) == 1
        assert str(found[0]).startswith(problem)

    def test_several_mistakes_are_all_told(self) -> None:
        found = parse_problems(Guest, self.guest(priority=-1, runing=True, mirror="A"))
        assert [p.field for p in found] == ["spec.mirror", "spec.priority", "spec.runing"]

    def test_unknown_fields_are_found_at_any_depth(self) -> None:
        raw = named("Mirror", "bancuv3")
        raw["spec"]["replicas"][1]["hots"] = "x"
        raw["spec"]["colour"] = "blue"
        raw["spce"] = {}
        assert set(parse_problems(Mirror, raw)) == {
            Problem("spec.replicas[1].hots", "there is no such field; did you mean host?"),
            Problem("spec.colour", "there is no such field; remove it"),
            Problem("spce", "there is no such field; did you mean spec?"),
        }

    def test_snake_case_is_no_other_spelling(self) -> None:
        found = parse_problems(Guest, self.guest(shutdown_timeout_seconds=5))
        assert [p.field for p in found] == ["spec.shutdown_timeout_seconds"]

    def test_what_the_server_pruned_is_told_from_kubectls_note(self) -> None:
        raw = named("Guest", "nominas")
        applied = {**raw, "spec": {**raw["spec"], "runing": False}}
        raw["metadata"]["annotations"] = {LAST_APPLIED: json.dumps(applied)}
        assert [p.field for p in parse_problems(Guest, raw)] == ["spec.runing"]

    def test_a_note_that_is_no_json_is_passed_over(self) -> None:
        raw = changed(named("Guest", "nominas"))
        raw["metadata"]["annotations"] = {LAST_APPLIED: "{"}
        assert parse_problems(Guest, raw) == []

    def test_paths_read_as_people_write_them(self) -> None:
        assert dotted(("spec", "disks", 0, "bus")) == "spec.disks[0].bus"


class TestTemplates:
    def messages(self, inner: str) -> list[str]:
        qemu = "http://libvirt.org/schemas/domain/qemu/1.0"
        return self.refusals(f'<domain xmlns:q="{qemu}">{inner}</domain>')

    def refusals(self, text: str) -> list[str]:
        domain = Domain.model_validate(
            {"memory": "1Gi", "disks": [{"volume": "root"}], "template": text}
        )
        return [problem.message for problem in template_problems(domain)]

    def test_hardware_is_welcome(self) -> None:
        inner = '<cpu mode="host-model"/><devices><sound model="ich9"/></devices>'
        assert self.messages(inner) == []
        assert self.messages('<q:capabilities><q:del capability="x"/></q:capabilities>') == []

    @pytest.mark.parametrize(
        ("inner", "words"),
        [
            ('<devices><disk type="network"/></devices>', "names a disk (network)"),
            (
                '<devices><filesystem type="mount"><source dir="/srv"/></filesystem></devices>',
                "names a folder of the host (/srv)",
            ),
            (
                '<devices><interface type="bridge"><source bridge="br0"/></interface></devices>',
                "names a network card (br0)",
            ),
            ('<devices><hostdev type="scsi"/></devices>', "hands a host's disk to the guest"),
        ],
    )
    def test_disks_and_cards_are_not(self, inner: str, words: str) -> None:
        (message,) = self.messages(inner)
        assert message.startswith(words)
        assert message.endswith("alone; remove it")

    def test_qemu_arguments_are_not(self) -> None:
        assert self.messages('<q:commandline><q:arg value="-snapshot"/></q:commandline>') == [
            "has <qemu:commandline>, which could open any disk or card; remove it"
        ]

    def test_another_document_is_refused(self) -> None:
        assert self.refusals("<network/>") == [
            "starts with <network>; it must be one libvirt <domain> element"
        ]

    @pytest.mark.parametrize(
        "text",
        [
            '<!DOCTYPE domain [<!ENTITY a "b">]><domain>&a;</domain>',
            '<!DOCTYPE domain SYSTEM "file:///etc/passwd"><domain/>',
        ],
    )
    def test_entities_are_refused(self, text: str) -> None:
        assert self.refusals(text) == ["has a document type or entities; remove them"]


class TestAnotherMirror:
    """A guest keeps the mirror that it was started on until it has stopped everywhere."""

    def edited(self, assigned: str, *reports: tuple[str, int]) -> Guest:
        raw = hostile_guest("g")
        raw["spec"]["mirror"] = "other"
        raw["status"]["assignment"].update({"host": assigned, "serial": 4})
        raw["status"]["hosts"] = {
            f"host-{number}": {"state": state, "assignmentSerial": serial}
            for number, (state, serial) in enumerate(reports)
        }
        return Guest.parse(raw)

    def problems(self, guest: Guest) -> list[str]:
        mirrors = [Mirror.parse(hostile_mirror(name)) for name in ("g", "other")]
        catalogue = Catalogue.of(mirrors=mirrors, guests=[guest])
        return [str(each) for each in guest_problems(guest, catalogue) if "spec.mirror" in each]

    def test_is_refused_while_it_is_assigned(self) -> None:
        (problem,) = self.problems(self.edited("burjassot-1", ("Running", 4)))
        assert problem.startswith("spec.mirror: cannot change from g to other before")

    def test_is_refused_while_a_host_has_not_said_that_it_stopped(self) -> None:
        assert self.problems(self.edited("", ("Absent", 4), ("Absent", 3)))
        assert self.problems(self.edited("", ("ShuttingDown", 4)))

    def test_is_welcome_once_it_has_stopped(self) -> None:
        assert self.problems(self.edited("", ("Absent", 4), ("Absent", 5))) == []
