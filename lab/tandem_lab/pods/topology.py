"""The cluster's nodes and addresses.

    third place (API server)  10.245.0.1 ──┬── bridge in the cluster's namespace
    node-1  10.245.0.11, pods 10.244.1.0/24 ┤
    node-2  10.245.0.12, pods 10.244.2.0/24 ┘

Each node has a network namespace of its own and one cable, so that it can be cut off. Pods are
routed, nothing is translated: the API server reaches them as they reach it. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

API_ADDRESS = "10.245.0.1"
NODE_NETWORK_BITS = 24
POD_NETWORK = "10.244.0.0/16"
BRIDGE = "nodes"
INTERFACE = "eth0"


@dataclass(frozen=True)
class NodeSpec:
    """One node, by its number (from 1)."""

    number: int

    @property
    def name(self) -> str:
        return f"node-{self.number}"

    @property
    def address(self) -> str:
        return f"10.245.0.{10 + self.number}"

    @property
    def pods(self) -> str:
        """The network of its pods."""
        return f"10.244.{self.number}.0/24"

    def namespace(self, cluster: str) -> str:
        """Its network namespace, in a cluster's."""
        return f"{cluster}-{self.name}"


NODES = (NodeSpec(1), NodeSpec(2))
