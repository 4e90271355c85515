"""Which hosts and links a lab has, and the addresses that follow from it.

Pure: it parses and computes, and touches nothing. Used by every module that creates something.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

# Addresses of hosts start here in every link; .1 is the lab's own end.
FIRST_HOST_NUMBER = 11
MAX_HOSTS = 80

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")]


class Link(BaseModel):
    """One network that joins all hosts, as a bridge in the lab's namespace."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    short: str
    prefix: str
    number: int

    @property
    def bridge(self) -> str:
        """The bridge in the lab's namespace."""
        return f"br-{self.short}"

    @property
    def lab_address(self) -> str:
        """The lab's own address on this link (API server, controller, probes)."""
        return f"{self.prefix}.1"

    def tap(self, host: Host) -> str:
        """The lab's end of the host's cable."""
        return f"{self.short}-{host.number}"

    def address(self, host: Host) -> str:
        """The host's address on this link."""
        return f"{self.prefix}.{FIRST_HOST_NUMBER + host.number}"

    def mac(self, host: Host) -> str:
        """The host's MAC address on this link."""
        return f"02:7a:00:00:{self.number:02x}:{FIRST_HOST_NUMBER + host.number:02x}"


# The out-of-band link stands for a BMC: it is how the lab talks to its hosts, and is never cut.
OUT_OF_BAND = Link(name="out-of-band", short="oob", prefix="10.79.0", number=0)
MANAGEMENT = Link(name="management", short="mgmt", prefix="10.77.0", number=1)
REPLICATION = Link(name="replication", short="repl", prefix="198.51.100", number=2)
USERS = Link(name="users", short="users", prefix="192.0.2", number=3)
ALL_LINKS = (OUT_OF_BAND, MANAGEMENT, REPLICATION, USERS)
CUTTABLE_LINKS = (MANAGEMENT, REPLICATION, USERS)

# Inside a host the cable of the users' link is a port of the bridge that guests are plugged into.
GUEST_BRIDGE = "br-users"


class Host(BaseModel):
    """One site host: a user-mode Linux with two disks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    site: Name
    number: int = Field(ge=0, lt=MAX_HOSTS, description="position in the topology")
    memory_mib: int = Field(default=640, ge=256)
    state_disk_mib: int = Field(default=128, ge=16)
    data_disk_mib: int = Field(default=4096, ge=64)
    softdog_margin_s: int | None = Field(default=10, ge=1)

    @property
    def uuid(self) -> str:
        """libvirt's host id: must differ between hosts, or migration is refused."""
        return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{self.name}.lab.tandem.dev"))


class Topology(BaseModel):
    """All hosts of a lab; numbered in the order given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hosts: tuple[Host, ...] = Field(min_length=1, max_length=MAX_HOSTS)

    @model_validator(mode="before")
    @classmethod
    def _number_hosts(cls, data: object) -> object:
        if isinstance(data, dict) and isinstance(data.get("hosts"), list | tuple):
            numbered = [
                {**host, "number": number} if isinstance(host, dict) else host
                for number, host in enumerate(data["hosts"])
            ]
            return {**data, "hosts": numbered}
        return data

    @model_validator(mode="after")
    def _names_differ(self) -> Topology:
        names = [host.name for host in self.hosts]
        if len(set(names)) != len(names):
            raise ValueError(f"two hosts have the same name: {', '.join(names)}")
        return self

    def host(self, name: str) -> Host:
        """The host called `name`; KeyError says which there are."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise KeyError(f"no host {name!r}; there are: {', '.join(h.name for h in self.hosts)}")


def default_topology() -> Topology:
    """Two sites, one host each."""
    return Topology.model_validate(
        {
            "hosts": [
                {"name": "burjassot-1", "site": "burjassot"},
                {"name": "tarongers-1", "site": "tarongers"},
            ]
        }
    )


def load_topology(path: Path) -> Topology:
    """Parse a YAML file such as lab/topology.yaml."""
    return Topology.model_validate(yaml.safe_load(path.read_text()))


def save_topology(topology: Topology, path: Path) -> None:
    """Write what `load_topology` reads (without the numbers, which follow from the order)."""
    data = topology.model_dump(exclude={"hosts": {"__all__": {"number"}}})
    path.write_text(yaml.safe_dump({"hosts": [dict(host) for host in data["hosts"]]}))


def link_named(name: str) -> Link:
    """A link that may be cut; KeyError says which there are."""
    for link in CUTTABLE_LINKS:
        if link.name == name:
            return link
    raise KeyError(f"no link {name!r}; there are: {', '.join(k.name for k in CUTTABLE_LINKS)}")
