"""Both hosts try a guest's hardware before it counts as protected, on a real libvirtd."""

from __future__ import annotations

from typing import Any

import pytest

from .deployed import GUEST, Deployed

pytestmark = pytest.mark.lab

Raw = dict[str, Any]
IMAGE = "/site/installer.iso"


def protected(status: Raw) -> Raw:
    found: Raw = next(c for c in status["conditions"] if c["type"] == "Protected")
    return found


def test_an_image_must_be_on_both_hosts(tandem: Deployed) -> None:
    for host in tandem.lab.hosts:
        (host.share / "installer.iso").unlink(missing_ok=True)
    tandem.patch("guest", GUEST.name, {"domain": {"cdroms": [{"source": IMAGE}]}})
    status = tandem.wait_guest("unprotected", lambda s: IMAGE in protected(s)["message"])
    said = protected(status)
    assert (said["status"], said["reason"]) == ("False", "HardwareRefused")
    assert status["phase"] == "Running"
    assert "spec.domain.cdroms[0].source: /site/installer.iso is not on" in said["message"]
    for host in tandem.lab.hosts:
        (host.share / "installer.iso").write_bytes(bytes(65536))
    status = tandem.wait_guest("protected", lambda s: s["protected"] == "True")
    reports = [status["hosts"][host.name]["hardware"] for host in tandem.lab.hosts]
    assert reports[0] == reports[1]
    assert reports[0]["problems"] == []


def test_what_libvirt_refuses_is_known_before_it_is_needed(tandem: Deployed) -> None:
    template = "<domain><os><type machine='pc-i440fx-99.9'>hvm</type></os></domain>"
    tandem.patch("guest", GUEST.name, {"domain": {"template": template}})
    status = tandem.wait_guest("unprotected", lambda s: "99.9" in protected(s)["message"])
    assert protected(status)["reason"] == "HardwareRefused"
    assert status["phase"] == "Running"


def test_devices_are_measured(tandem: Deployed) -> None:
    said = next(c for c in tandem.mirror()["conditions"] if c["type"] == "Sized")
    assert (said["status"], said["reason"]) == ("True", "LargeEnough")
