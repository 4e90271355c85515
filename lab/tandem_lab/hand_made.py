"""DRBD mirrors made by hand, for what runs without any actuator: tests of the lab, and the bare
parts that a benchmark compares with.
"""

from __future__ import annotations

from dataclasses import dataclass

from tandem_lab.lab import Lab
from tandem_lab.site_host import SiteHost
from tandem_lab.topology import REPLICATION, Host

CONNECT_TIMEOUT_S = 30.0
FIRST_PORT = 7700

RESOURCE = """\
resource {name} {{
    net {{
        protocol C;
        ping-int 1;
        ping-timeout 10;
        timeout 9;
        connect-int 1;
{net}    }}
    volume 0 {{
        device minor {minor};
        disk {disk};
        meta-disk internal;
    }}
{ends}}}
"""


@dataclass(frozen=True)
class HandMadeMirror:
    """A DRBD resource on two hosts, with one volume."""

    name: str
    minor: int
    hosts: tuple[SiteHost, SiteHost]
    two_primaries: bool = False

    @property
    def device(self) -> str:
        """The mirrored device, the same on both hosts."""
        return f"/dev/drbd{self.minor}"

    def configure(self, host: SiteHost) -> None:
        """Write its configuration, which a reboot forgets."""
        host.write_file(f"/etc/drbd.d/{self.name}.res", self._configuration())

    def create(self) -> None:
        """Make it on brand-new volumes: connected, in sync, Secondary on both hosts."""
        for host in self.hosts:
            host.create_volume(self.name, "16M")
            self.configure(host)
            host.shell(f"drbdadm create-md --force {self.name} 2>&1; drbdadm up {self.name}")
        first, second = self.hosts
        for host in self.hosts:
            host.shell(f"drbdadm wait-connect {self.name}", timeout_s=CONNECT_TIMEOUT_S)
        first.shell(f"drbdadm new-current-uuid --clear-bitmap {self.name}/0")
        for host in (first, second):
            host.shell(
                f"until drbdadm dstate {self.name} | grep -q UpToDate/UpToDate; do sleep 0.1; done",
                timeout_s=CONNECT_TIMEOUT_S,
            )

    def promote(self, host: SiteHost) -> None:
        """Make `host` Primary."""
        host.shell(f"drbdadm primary {self.name}")

    def _configuration(self) -> str:
        new = not self.hosts[0].drbd_version().startswith("8.")
        ends = "".join(self._end(n, host.spec, new) for n, host in enumerate(self.hosts))
        disk = f"/dev/vg0/{self.name}"
        # DRBD 9 refuses the name that drbdadm 9.22 makes of an address.
        net = "        _name peer;\n" if new else ""
        net += "        allow-two-primaries yes;\n" if self.two_primaries else ""
        return RESOURCE.format(name=self.name, minor=self.minor, disk=disk, ends=ends, net=net)

    def _end(self, number: int, host: Host, new: bool) -> str:
        address = f"{REPLICATION.address(host)}:{FIRST_PORT + self.minor}"
        node = f"        node-id {number};\n" if new else ""
        return f"    on {host.name} {{\n{node}        address {address};\n    }}\n"


def hand_made_mirror(lab: Lab, name: str, minor: int) -> HandMadeMirror:
    """A mirror between the lab's first two hosts; not created yet."""
    first, second = lab.hosts[:2]
    return HandMadeMirror(name, minor, (first, second))
