"""The objects that a world begins with, as its plan says: sites, hosts, mirrors and guests."""

from collections.abc import Iterator, Sequence
from typing import Any

from tandem_api.kinds.guest import Guest
from tandem_api.kinds.host import Host
from tandem_api.kinds.mirror import Mirror
from tandem_api.kinds.site import Site
from tandem_scenario.plan import GuestPlan, WorldPlan

NAMESPACE = "sim"


def addresses(plan: WorldPlan) -> dict[str, str]:
    """Of the hosts, on the replication link."""
    return {host.name: f"198.51.100.{number}" for number, host in enumerate(plan.hosts, start=11)}


def sites_and_hosts(plan: WorldPlan) -> Iterator[Site | Host]:
    for site in sorted({host.site for host in plan.hosts}):
        metadata = {"name": site, "uid": f"uid-{site}"}
        yield Site.parse({"metadata": metadata, "spec": plan.site_spec})
    replication = addresses(plan)
    for host in plan.hosts:
        spec = {
            "site": host.site,
            "replicationAddress": replication[host.name],
            "watchdog": host.watchdog,
            **({"fenceAgent": _agent(host.name)} if host.fence_agent else {}),
            **({"capacity": {"cpus": 64, "memory": host.memory}} if host.memory else {}),
        }
        yield Host.parse({"metadata": {"name": host.name, "uid": f"uid-{host.name}"}, "spec": spec})


def _agent(host: str) -> dict[str, Any]:
    """The simulated one (``fence_agent``). Its answers take less than these times."""
    return {
        "agent": "fence_simulated",
        "parameters": {"plug": host},
        "offTimeoutSeconds": 4,
        "statusTimeoutSeconds": 2,
    }


def mirror_of(plan: GuestPlan, hosts: Sequence[str], suffix: str) -> Mirror:
    """``suffix`` of its UID: another one is another object."""
    spec = {
        "protocol": plan.protocol,
        "volumes": [{"name": volume, "size": "1Gi"} for volume in plan.volumes],
        "replicas": [
            {"host": name, "devices": {v: f"/dev/vg0/{plan.name}-{v}" for v in plan.volumes}}
            for name in hosts
        ],
        "linkLossHoldoffSeconds": plan.holdoff_s,
    }
    return Mirror.parse({"metadata": _metadata(plan, f"uid-m-{suffix}"), "spec": spec})


def guest_of(plan: GuestPlan, suffix: str) -> Guest:
    """``suffix`` of its UID: another one is another object."""
    spec = {
        "mirror": plan.name,
        "running": plan.running,
        "priority": plan.priority,
        "domain": {"memory": plan.memory, "disks": [{"volume": v} for v in plan.volumes]},
        "placement": {"preferredSite": plan.prefers} if plan.prefers else {},
        "failover": {"policy": plan.failover},
        "failback": {"policy": plan.failback, "afterSeconds": plan.failback_after_s},
        "shutdownTimeoutSeconds": 20,
        "migration": {"timeoutSeconds": 20},
    }
    return Guest.parse({"metadata": _metadata(plan, f"uid-g-{suffix}"), "spec": spec})


def _metadata(plan: GuestPlan, uid: str) -> dict[str, Any]:
    return {"name": plan.name, "namespace": NAMESPACE, "uid": uid}
