"""The objects and volumes of a scenario's world, as a person would apply them. Pure.

Called by ``stage``.
"""

from __future__ import annotations

from typing import Any

from tandem_lab.topology import REPLICATION, Topology
from tandem_scenario.plan import GuestPlan, HostPlan, WorldPlan

NAMESPACE = "scenario"
VOLUME_SIZE = "16Mi"
# With room for DRBD's own data.
DEVICE_SIZE = "20M"
API_VERSION = "tandem.dev/v1alpha1"
SHUTDOWN_TIMEOUT_S = 1  # the counter guest does not listen to the power button

Raw = dict[str, Any]


def topology_of(plan: WorldPlan) -> Topology:
    """The lab's hosts for this world."""
    hosts: list[Raw] = []
    for host in plan.hosts:
        raw: Raw = {"name": host.name, "site": host.site}
        if host.watchdog == "None":
            raw["softdog_margin_s"] = None
        hosts.append(raw)
    return Topology.model_validate({"hosts": hosts})


def domain_of(guest: str) -> str:
    """libvirt's name of a guest, and that of its log."""
    return f"{NAMESPACE}.{guest}"


def volume_names(guest: GuestPlan) -> dict[str, str]:
    """The logical volume of each of its mirror's volumes."""
    return {volume: f"{guest.name}-{volume}" for volume in guest.volumes}


def objects_of(plan: WorldPlan, topology: Topology) -> list[Raw]:
    """Everything to apply, in this order."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    sites = [_object("Site", site, plan.site_spec) for site in plan.sites]
    hosts = [_host(host, topology) for host in plan.hosts]
    mirrors = [_mirror(guest, plan.replicas_of(guest)) for guest in plan.guests]
    return [namespace, *sites, *hosts, *mirrors, *(_guest(guest) for guest in plan.guests)]


def _object(kind: str, name: str, spec: Raw, namespace: str = "") -> Raw:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


def _host(host: HostPlan, topology: Topology) -> Raw:
    spec = {
        "site": host.site,
        "replicationAddress": REPLICATION.address(topology.host(host.name)),
        "watchdog": host.watchdog,
    }
    return _object("Host", host.name, spec)


def _mirror(guest: GuestPlan, hosts: tuple[str, ...]) -> Raw:
    devices = {volume: f"/dev/vg0/{name}" for volume, name in volume_names(guest).items()}
    spec = {
        "protocol": guest.protocol,
        "initialData": "Identical",
        "volumes": [{"name": volume, "size": VOLUME_SIZE} for volume in guest.volumes],
        "replicas": [{"host": host, "devices": devices} for host in hosts],
        "linkLossHoldoffSeconds": guest.holdoff_s,
    }
    return _object("Mirror", guest.name, spec, NAMESPACE)


def _guest(guest: GuestPlan) -> Raw:
    disks: list[Raw] = [{"volume": volume, "bus": "ide"} for volume in guest.volumes]
    disks[0]["boot"] = 1  # it counts on the first, and boots from it through the BIOS
    spec: Raw = {
        "mirror": guest.name,
        "running": guest.running,
        "priority": guest.priority,
        "domain": {"cpus": 1, "memory": "32Mi", "disks": disks},
        "failover": {"policy": guest.failover},
        "failback": {"policy": guest.failback, "afterSeconds": guest.failback_after_s},
        "shutdownTimeoutSeconds": SHUTDOWN_TIMEOUT_S,
    }
    if guest.prefers:
        spec["placement"] = {"preferredSite": guest.prefers}
    return _object("Guest", guest.name, spec, NAMESPACE)
