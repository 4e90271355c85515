"""What else must hold of the operator in its pods: rights, logs, metrics, and what it costs.

Called by `make pods` and by the tests.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psutil
from prometheus_client.parser import text_string_to_metric_families

from tandem_lab.controlplane import ControlPlane, ControlPlaneError
from tandem_lab.pods.cluster import Cluster
from tandem_lab.pods.installation import NAMESPACE
from tandem_lab.settings import LabError

TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"
ALLOWED = ("get", "guests", "-A")
DENIED: dict[str, tuple[str, ...]] = {
    "read Secrets": ("get", "secrets", "-n", NAMESPACE),
    "create a pod": ("run", "intruder", f"-n={NAMESPACE}", "--image=none", "--restart=Never"),
    "write a host's heartbeat": (
        *("patch", "lease", "host-burjassot-1", f"-n={NAMESPACE}", "--type=merge"),
        *("-p", '{"spec": {"holderIdentity": "nobody"}}'),
    ),
    "make a host's heartbeat": ("create", "-f", "-"),
    "delete a guest": ("delete", "guest", "bancuv3", "-n=secretaria"),
    "read another namespace's pods": ("get", "pods", "-n=kube-system"),
}
HEARTBEAT = {
    "apiVersion": "coordination.k8s.io/v1",
    "kind": "Lease",
    "metadata": {"name": "host-intruder", "namespace": NAMESPACE},
}
# In a pod of the webhook's, which has a Python: what a Prometheus in the cluster would do.
SCRAPE = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=5).read().decode())"
REFUSALS = ("Forbidden", "forbidden")


def check_rights(plane: ControlPlane, pod: str, directory: Path) -> list[str]:
    """Try, with the token that the pod itself was given, what it must not do; what was refused.

    Raises LabError if something was let through, or was refused for another reason.
    """
    token = plane.kubectl("-n", NAMESPACE, "exec", pod, "--", "cat", TOKEN)
    account = f"--kubeconfig={plane.token_kubeconfig(directory / 'pod.kubeconfig', token)}"
    plane.kubectl(account, *ALLOWED)
    for what, command in DENIED.items():
        try:
            plane.kubectl(account, *command, stdin=json.dumps(HEARTBEAT))
        except ControlPlaneError as error:
            if not any(word in str(error) for word in REFUSALS):
                raise LabError(f"{what}: not refused for want of a right: {error}") from error
        else:
            raise LabError(f"the controller's pod may {what}")
    return list(DENIED)


def scrape(plane: ControlPlane, from_pod: str) -> dict[str, dict[str, float]]:
    """The metrics behind the Service, from another pod: for each address, values by name."""
    answer = plane.kubectl(
        *("-n", NAMESPACE, "get", "endpointslices", "-o", "json"),
        *("-l", "kubernetes.io/service-name=tandem-controller-metrics"),
    )
    found = {}
    for part in json.loads(answer)["items"]:
        for endpoint in part["endpoints"]:
            address = f"{endpoint['addresses'][0]}:{part['ports'][0]['port']}"
            command = ("python3", "-c", SCRAPE, f"http://{address}/metrics")
            text = plane.kubectl("-n", NAMESPACE, "exec", from_pod, "--", *command)
            found[address] = values(text)
    return found


def values(metrics: str) -> dict[str, float]:
    """The last value of each metric."""
    families = text_string_to_metric_families(metrics)
    return {sample.name: sample.value for family in families for sample in family.samples}


def logs(plane: ControlPlane) -> str:
    """The controller's logs, as its alert's runbook says to read them."""
    return plane.kubectl(
        *("logs", "-n", NAMESPACE, "deploy/tandem-controller", "--all-containers", "--prefix"),
        "--all-pods=true",
    )


def memory(cluster: Cluster, pods: list[dict[str, Any]]) -> dict[str, int]:
    """Resident bytes: of each pod, and of everything that the cluster itself runs."""
    used = {}
    for pod in pods:
        metadata, node = pod["metadata"], cluster.node(pod["spec"]["nodeName"])
        used[metadata["name"]] = sum(map(_resident, node.processes_of_pod(metadata["uid"])))
    for process in cluster.processes:
        used[process.name] = _resident(process.pid() or 0)
    for node in cluster.nodes:
        used[node.spec.name] = sum(map(_resident, node.all_processes()))
    return used


def _resident(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
