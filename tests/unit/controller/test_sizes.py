"""The devices of a mirror against its sizes, and a guest's hardware against its hosts."""

from typing import Any

import pytest

from tandem_api.meta import condition
from tandem_controller.decide.status.mirror import mirror_status
from tandem_controller.decide.world.sizes import with_metadata

from .scenes import A, B, Scene, report

MIB, GIB = 2**20, 2**30


def sized(scene: Scene, a: int | None, b: int | None) -> Scene:
    for host, size in ((A, a), (B, b)):
        scene.replicas[host]["volumes"]["root"]["deviceBytes"] = size
    return scene


def said(scene: Scene) -> tuple[str, str, str]:
    found = condition(mirror_status(scene.parsed_mirror(), scene.world(), None).conditions, "Sized")
    assert found is not None
    return found.status, found.reason, found.message


def of_100_gib() -> Scene:
    return Scene(mirror={"volumes": [{"name": "root", "size": "100Gi"}]})


def test_devices_that_hold_it_are_well() -> None:
    least = with_metadata(100 * GIB)
    assert said(sized(of_100_gib(), least, least))[:2] == ("True", "LargeEnough")


def test_metadata_is_reckoned_as_drbd_does() -> None:
    """A device of 1 GiB, as drbdmeta lays it out: 32 KiB of bitmap and 36 KiB of the rest."""
    assert with_metadata(GIB) - GIB == 68 * 1024


def test_devices_that_are_too_small_are_named_with_what_to_run() -> None:
    status, reason, message = said(sized(of_100_gib(), 10 * GIB, 20 * GIB))
    assert (status, reason) == ("False", "DeviceTooSmall")
    assert message == (
        f"volume root is to have 100Gi, and /dev/vg0/g-root on {A} has 10Gi and /dev/vg0/g-root on"
        f" {B} has 20Gi, which must hold DRBD's metadata as well. Devices are not grown by"
        f" themselves: run lvextend -L 102404m /dev/vg0/g-root on {A} and lvextend -L 102404m"
        f" /dev/vg0/g-root on {B}, and then, while the guest runs and the mirror is redundant,"
        " drbdadm resize ns.g/0 on the guest's host"
    )


def test_one_that_is_just_as_large_has_no_room_for_metadata() -> None:
    status, reason, message = said(sized(of_100_gib(), 100 * GIB, 101 * GIB))
    assert (status, reason) == ("False", "DeviceTooSmall")
    assert B not in message


def test_devices_that_differ_are_told() -> None:
    status, reason, message = said(sized(of_100_gib(), 101 * GIB, 102 * GIB))
    assert (status, reason) == ("False", "DevicesDiffer")
    assert message.startswith(f"volume root has devices of 101Gi on {A} and 102Gi on {B}: ")


def test_what_nobody_has_measured_is_not_known() -> None:
    assert said(of_100_gib())[:2] == ("Unknown", "UnknownState")


def test_what_one_host_has_measured_counts() -> None:
    assert said(sized(of_100_gib(), None, 10 * GIB))[1] == "DeviceTooSmall"


# -- a guest's hardware


def protected(a: dict[str, Any] | None, b: dict[str, Any] | None) -> tuple[str, str, str]:
    scene = Scene()
    scene.reports = {A: report(A), B: report(B, "Absent")}
    for host, hardware in ((A, a), (B, b)):
        if hardware is not None:
            scene.reports[host]["hardware"] = hardware
    found = condition(scene.status_after().conditions, "Protected")
    assert found is not None
    return found.status, found.reason, found.message


def test_what_a_takeover_does_not_bring_along_is_said_before() -> None:
    domain = {"memory": "1Gi", "disks": [{"volume": "root"}], "firmware": "UEFI"}
    scene = Scene(guest={"domain": domain})
    found = condition(scene.status_after().conditions, "Protected")
    assert found is not None and found.status == "True"
    assert found.message == (
        "the other host can take it over; its UEFI variables begin anew there, as at every start"
    )


def tried(*problems: str) -> dict[str, Any]:
    fingerprint = Scene().parsed_guest().spec.domain.fingerprint
    return {"fingerprint": fingerprint, "problems": list(problems)}


def test_protected_once_both_have_tried_it() -> None:
    assert protected(tried(), tried())[0] == "True"


def test_hosts_that_do_not_know_of_it_do_not_count_against_it() -> None:
    assert protected(None, None)[0] == "True"


@pytest.mark.parametrize("other", [{"fingerprint": ""}, {"fingerprint": "of another edit"}])
@pytest.mark.parametrize("late", [A, B])
def test_not_protected_before_both_have_tried_just_this(other: dict[str, Any], late: str) -> None:
    status, reason, message = protected(*(other if h == late else tried() for h in (A, B)))
    assert (status, reason) == ("False", "HardwareUnchecked")
    assert message == f"{late} has not tried yet whether it can start spec.domain"


@pytest.mark.parametrize("lacking", [A, B])
def test_not_protected_where_something_is_missing(lacking: str) -> None:
    words = f"spec.domain.cdroms[0].source: /srv/iso/x.iso is not on {lacking}; put it there"
    found = protected(*(tried(words) if h == lacking else tried() for h in (A, B)))
    assert found == ("False", "HardwareRefused", words)
