"""The cluster's network namespaces: one for the API server, one for each node, a cable between.

Called by the cluster. Everything of it is inside these namespaces.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from tandem_lab.namespace import namespace_path, remove_namespace
from tandem_lab.pods.topology import (
    API_ADDRESS,
    BRIDGE,
    INTERFACE,
    NODE_NETWORK_BITS,
    NodeSpec,
)
from tandem_lab.shell import run


def cable_commands(node: NodeSpec, cluster: str) -> Iterator[str]:
    """The cable of a node and the way to its pods; for `ip -batch`, in the cluster's namespace."""
    namespace = node.namespace(cluster)
    yield f"link add {node.name} type veth peer name {INTERFACE} netns {namespace}"
    yield f"link set {node.name} master {BRIDGE}"
    yield f"link set {node.name} up"
    yield f"route add {node.pods} via {node.address}"


def node_commands(node: NodeSpec, others: Sequence[NodeSpec]) -> Iterator[str]:
    """Address and routes of a node; for `ip -batch`, in its own namespace."""
    yield "link set lo up"
    yield f"address add {node.address}/{NODE_NETWORK_BITS} dev {INTERFACE}"
    yield f"link set {INTERFACE} up"
    # A kubelet without a default route does not know which address is its own; there is nobody.
    yield f"route add default via {API_ADDRESS}"
    for other in others:
        yield f"route add {other.pods} via {other.address}"


class ClusterNetwork:
    """Makes and removes the namespaces, and cuts and heals a node's cable."""

    def __init__(self, cluster: str, nodes: Sequence[NodeSpec]) -> None:
        self._cluster = cluster
        self._nodes = nodes

    def create(self) -> None:
        """Make everything; what an unclean end left is removed first."""
        self.remove()
        for namespace in self._namespaces():
            run(["ip", "netns", "add", namespace])
            inside = ["nsenter", f"--net={namespace_path(namespace)}"]
            run([*inside, "sysctl", "-q", "-w", "net.ipv6.conf.all.disable_ipv6=1"])
            run([*inside, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1"])
        self._batch(
            self._cluster,
            [
                "link set lo up",
                f"link add {BRIDGE} type bridge forward_delay 0 mcast_snooping 0",
                f"address add {API_ADDRESS}/{NODE_NETWORK_BITS} dev {BRIDGE}",
                f"link set {BRIDGE} up",
            ],
        )
        for node in self._nodes:
            self._batch(self._cluster, cable_commands(node, self._cluster))
        for node in self._nodes:
            others = [other for other in self._nodes if other != node]
            self._batch(node.namespace(self._cluster), node_commands(node, others))

    def remove(self) -> None:
        """End what still runs in the namespaces, then remove them."""
        for namespace in reversed(self._namespaces()):
            remove_namespace(namespace)

    def cut(self, node: NodeSpec) -> None:
        """Cut a node's cable, silently: both ends take it for whole."""
        self._batch(self._cluster, [f"link set {node.name} nomaster"])

    def heal(self, node: NodeSpec) -> None:
        """Mend the cable."""
        self._batch(self._cluster, [f"link set {node.name} master {BRIDGE}"])

    def _namespaces(self) -> list[str]:
        return [self._cluster, *(node.namespace(self._cluster) for node in self._nodes)]

    def _batch(self, namespace: str, commands: Iterable[str]) -> None:
        lines = "\n".join(commands) + "\n"
        run(["nsenter", f"--net={namespace_path(namespace)}", "ip", "-batch", "-"], stdin=lines)
