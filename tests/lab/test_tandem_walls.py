"""Tandem in the lab: the controller fails on one object of each kind, and a site dies.

The bugs are in the controller alone, which runs as a process of this machine (``tandem_bugs``);
what the hosts run is what is installed in them. Bugs of an actuator are the simulator's.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import pytest
import yaml

from tandem_lab.controlplane.process import Process

from .deployed import GUEST, TAKEOVER_BOUND_S, Deployed, Raw

pytestmark = [pytest.mark.lab, pytest.mark.timeout(420)]

SPOILT = "spoilt"
PARTS = 4


def objects(hosts: tuple[str, str]) -> str:
    """A mirror without disks, and its guest: nobody will ever start it."""
    metadata = {"name": SPOILT, "namespace": GUEST.namespace}
    devices = {"root": "/dev/vg0/nowhere"}
    mirror = {
        "volumes": [{"name": "root", "size": "16Mi"}],
        "replicas": [{"host": host, "devices": devices} for host in hosts],
    }
    domain = {"cpus": 1, "memory": "32Mi", "disks": [{"volume": "root"}]}
    kinds: tuple[tuple[str, Raw], ...] = (
        ("Mirror", mirror),
        ("Guest", {"mirror": SPOILT, "domain": domain}),
    )
    return yaml.safe_dump_all(
        {"apiVersion": "tandem.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}
        for kind, spec in kinds
    )


@pytest.fixture
def other_site(tandem: Deployed) -> str:
    return str(tandem.raw("host", tandem.ends()[1].name)["spec"]["site"])


@pytest.fixture
def spoilt(tandem: Deployed, other_site: str) -> Iterator[Deployed]:
    """With a controller that fails on a guest, a mirror, the host and the site that will live."""
    deployment = tandem.deployment
    first, second = (host.name for host in tandem.lab.hosts)
    deployment.kubectl("apply", "-f", "-", stdin=objects((first, second)))
    ordinary = deployment.controller()
    ordinary.stop()
    process = Process("controller-with-bugs", deployment.directory)
    process.start(
        [
            sys.executable,
            "-m",
            "tandem_bugs",
            f"--kubeconfig={deployment.directory / 'controller.kubeconfig'}",
            f"--metrics-port={ordinary.metrics_port}",
            f"decision:Guest/{GUEST.namespace}/{SPOILT}",
            f"status:Mirror/{GUEST.namespace}/{SPOILT}",
            f"status:Host/{tandem.ends()[1].name}",
            f"status:Site/{other_site}",
        ],
        netns=deployment.lab.settings.namespace,
    )
    try:
        yield tandem
    finally:
        process.stop()
        ordinary.start()
        for kind in ("guest", "mirror"):
            deployment.kubectl("delete", kind, "-n", GUEST.namespace, SPOILT, "--timeout=60s")


def says(obj: Raw) -> str:
    """The reason of its condition Judged."""
    found = obj.get("status", {}).get("conditions", [])
    return next((str(each["reason"]) for each in found if each["type"] == "Judged"), "")


def test_one_object_of_each_kind_is_behind_a_wall_as_a_site_dies(
    spoilt: Deployed, other_site: str
) -> None:
    owner, other = spoilt.ends()
    which = (("guest", SPOILT), ("mirror", SPOILT), ("host", other.name), ("site", other_site))

    def all_say() -> bool:
        return [says(spoilt.get(*each)) for each in which] == ["InternalError"] * PARTS

    spoilt.wait("each says InternalError", all_say, 60.0)
    assert spoilt.get("guest", SPOILT)["status"]["phase"] == "Blocked"
    killed_s = time.monotonic()
    owner.kill()
    first_s = spoilt.wait_running_at(other, killed_s, TAKEOVER_BOUND_S)
    assert first_s - killed_s < TAKEOVER_BOUND_S
    assert all_say()
    assert spoilt.guest()["lastTakeover"]["target"] == other.name
    owner.start(wait=False)
