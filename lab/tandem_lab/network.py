"""The lab's network: one namespace, a bridge per link, a cable (tap) per host and link.

A cut drops every frame on a cable, without a word to either end, as a dead fibre does: carriers
stay up and nobody is told. Cuts live in the kernel (two nftables sets of cables), so what
`cuts` reports is what is in force. Nothing is made outside the namespace.

Used by Lab; it knows nothing of what runs in the hosts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from tandem_lab.namespace import namespace_exists, namespace_path, remove_namespace
from tandem_lab.settings import LabError
from tandem_lab.shell import run
from tandem_lab.topology import ALL_LINKS, CUTTABLE_LINKS, Host, Link, Topology

TABLE = "tandem"

# "out" and "in" are the host's own view: what it sends enters the bridge by its cable.
RULES = f"""
table bridge {TABLE} {{
    set cut_out {{
        type ifname
    }}
    set cut_in {{
        type ifname
    }}
    chain forward {{
        type filter hook forward priority 0
        iifname @cut_out drop
        oifname @cut_in drop
    }}
    chain input {{
        type filter hook input priority 0
        iifname @cut_out drop
    }}
    chain output {{
        type filter hook output priority 0
        oifname @cut_in drop
    }}
}}
"""


class Direction(StrEnum):
    """Which way a cut works, seen from the host."""

    IN = "in"
    OUT = "out"
    BOTH = "both"

    @property
    def sets(self) -> tuple[str, ...]:
        """The nftables sets that a cable is put into."""
        return ("cut_in", "cut_out") if self is Direction.BOTH else (f"cut_{self}",)


@dataclass(frozen=True)
class Cut:
    """A cable on which frames are dropped."""

    link: str
    host: str
    direction: Direction


class Network:
    """Creates and removes the namespace with its bridges and cables, and cuts and heals cables."""

    def __init__(self, namespace: str, topology: Topology) -> None:
        self.namespace = namespace
        self._topology = topology

    @property
    def exists(self) -> bool:
        """True if the namespace is there."""
        return namespace_exists(self.namespace)

    def create(self) -> None:
        """Make the namespace and everything in it; what an unclean end left is removed first."""
        self.remove()
        run(["ip", "netns", "add", self.namespace])
        run([*self._inside, "ip", "-batch", "-"], stdin="\n".join(self._commands()) + "\n")
        run([*self._inside, "sysctl", "-q", "-w", "net.ipv6.conf.all.disable_ipv6=1"])
        run([*self._inside, "nft", "-f", "-"], stdin=RULES)

    def remove(self) -> None:
        """End what still runs in the namespace, then remove it."""
        remove_namespace(self.namespace)

    def cut(self, link: Link, hosts: Iterable[Host], direction: Direction) -> None:
        """Drop all frames on these hosts' cables of `link`, in that direction."""
        cables = self._cables(link, hosts)
        for name in direction.sets:
            self._nft(f"add element bridge {TABLE} {name} {cables}")

    def heal(self, link: Link, hosts: Iterable[Host]) -> None:
        """Let frames pass again, in both directions."""
        cables = self._cables(link, hosts)
        # Deleting what is not there is an error; adding what is there is none.
        self._nft(
            "\n".join(
                f"{action} element bridge {TABLE} {name} {cables}"
                for name in Direction.BOTH.sets
                for action in ("add", "delete")
            )
        )

    def cuts(self) -> list[Cut]:
        """The cuts in force, as the kernel holds them."""
        cut_in, cut_out = self._elements("cut_in"), self._elements("cut_out")
        found = []
        for link in CUTTABLE_LINKS:
            for host in self._topology.hosts:
                tap = link.tap(host)
                if tap in cut_in and tap in cut_out:
                    found.append(Cut(link.name, host.name, Direction.BOTH))
                elif tap in cut_in:
                    found.append(Cut(link.name, host.name, Direction.IN))
                elif tap in cut_out:
                    found.append(Cut(link.name, host.name, Direction.OUT))
        return found

    @property
    def _inside(self) -> list[str]:
        return ["nsenter", f"--net={namespace_path(self.namespace)}"]

    def _commands(self) -> Iterable[str]:
        yield "link set dev lo up"
        for link in ALL_LINKS:
            yield f"link add name {link.bridge} type bridge forward_delay 0 mcast_snooping 0"
            yield f"link set dev {link.bridge} up"
            yield f"address add {link.lab_address}/24 dev {link.bridge}"
            for host in self._topology.hosts:
                tap = link.tap(host)
                yield f"tuntap add dev {tap} mode tap"
                yield f"link set dev {tap} master {link.bridge}"
                yield f"link set dev {tap} up"

    def _cables(self, link: Link, hosts: Iterable[Host]) -> str:
        return "{ " + ", ".join(f'"{link.tap(host)}"' for host in hosts) + " }"

    def _nft(self, commands: str) -> None:
        run([*self._inside, "nft", "-f", "-"], stdin=commands + "\n")

    def _elements(self, name: str) -> set[str]:
        answer = run([*self._inside, "nft", "-j", "list", "set", "bridge", TABLE, name])
        for entry in json.loads(answer)["nftables"]:
            if "set" in entry:
                return set(entry["set"].get("elem", []))
        raise LabError(f"nft lists no set {name}")


def hosts_file(topology: Topology) -> str:
    lines = ["127.0.0.1 localhost", "10.77.0.1 api.tandem.lab"]
    for host in topology.hosts:
        lines += [
            f"{link.address(host)} {host.name if link.short == 'mgmt' else ''} "
            f"{host.name}.{link.short}"
            for link in ALL_LINKS
        ]
    return "\n".join(lines) + "\n"
