"""A real Linux that is sent to the other site as it runs, slowly enough to break something then.

What its memory crosses is narrowed to the stream of the migration alone: DRBD's own connections
have the whole link. Whether it is in the middle is observed: at the authority, and at libvirt.

Used by test_live_moves.
"""

from __future__ import annotations

import json
import re

from tandem_api.meta import API_VERSION, Quantity
from tandem_lab.agent_client import HostUnreachableError
from tandem_lab.deployment import MIGRATION_PORT
from tandem_lab.host_state import HostDownError
from tandem_lab.linux_guest import make_linux_disks
from tandem_lab.settings import SOURCE_DIR
from tandem_lab.site_host import SiteHost
from tandem_lab.takeover import GuestName

from .deployed import GUEST as BANCUV3
from .deployed import VOLUME_SIZE, Deployed, Raw

ARXIU = GuestName("secretaria", "arxiu")
CORREU = GuestName("secretaria", "correu")
BESIDE = (BANCUV3, CORREU)
"""Counter guests that some test wants beside it."""
LINUX_SIZE = "64Mi"

INTERFACE = "repl"
SLOW_KBIT = 2000
"""Of its 128 MiB some 60 MiB are not empty: minutes."""
QUEUE_PACKETS = 60
ON_ITS_WAY = Quantity("1Mi").bytes
"""More than sockets and pipes between the two hold."""
BEGINS_WITHIN_S = 60.0
FORBIDDEN_WITHIN_S = 30.0


class Moving(Deployed):
    """The Linux guest, on hosts that can send it."""

    which = ARXIU
    volume = "arxiu-root"
    examples = ("linux",)

    def make_disks(self) -> None:
        make_linux_disks(self.lab, self.volume, LINUX_SIZE, lambda _message: None)
        for guest in BESIDE:
            self.deployment.make_counter_disks(f"{guest.name}-root", VOLUME_SIZE)

    def add_counters(self) -> None:
        """The guests beside it."""
        text = (SOURCE_DIR / "examples/bancuv3.yaml").read_text()
        for guest in BESIDE:
            named = text.replace(BANCUV3.name, guest.name)
            self.deployment.kubectl("apply", "-f", "-", stdin=named)

    # -- a move

    def order(self, name: str, to: SiteHost) -> None:
        """A move as it runs, or not at all."""
        metadata = {"name": name, "namespace": self.which.namespace}
        spec = {"guest": self.which.name, "to": {"host": to.name}, "how": "Live"}
        move = {"apiVersion": API_VERSION, "kind": "GuestMove", "metadata": metadata, "spec": spec}
        self.deployment.kubectl("create", "-f", "-", stdin=json.dumps(move))

    def move(self, name: str) -> Raw:
        """What has become of it."""
        status: Raw = self.get("guestmove", name).get("status") or {}
        return status

    def wait_ended(self, name: str, timeout_s: float = 90.0) -> Raw:
        """The move's status once it has succeeded or failed."""

        def look() -> Raw | None:
            status = self.move(name)
            return status if status.get("phase") in ("Succeeded", "Failed") else None

        return self.wait(f"GuestMove {name} ends", look, timeout_s)

    def send_half(self, name: str) -> tuple[SiteHost, SiteHost]:
        """Source and target, once a part of the guest's memory is there and much is not."""
        source, target = self.ends()
        slow(source)
        self.order(name, target)
        self.wait("its memory crosses", lambda: self.half_sent(source), BEGINS_WITHIN_S)
        authority = self.authority()
        assert authority["mode"] == "Migrating"
        ends = (authority["migration"]["source"], authority["migration"]["target"])
        assert ends == (source.name, target.name)
        return source, target

    def half_sent(self, source: SiteHost) -> bool:
        """By libvirt's own count of what it has sent and has yet to send."""
        told = source.run(["virsh", "-q", "domjobinfo", self.which.domain]).stdout
        sent, left = (_job_bytes(told, what) for what in ("processed", "remaining"))
        return sent > ON_ITS_WAY and left > ON_ITS_WAY

    # -- what must be so after all of it

    def check_well(self, at: SiteHost) -> None:
        """Redundant and running there; DRBD and libvirt are as if nothing had been sent."""
        self.wait_redundant()
        authority = self.authority()
        assert authority["owner"] == at.name
        assert authority["mode"] == "Mirrored"
        assert not authority.get("migration")
        assert all(entry["eligible"] for entry in authority["eligible"].values())
        for host in self.lab.hosts:
            self.wait(
                f"two Primaries are forbidden on {host.name}, in kernel and file",
                lambda host=host: self._forbids_two(host),  # type: ignore[misc]
                FORBIDDEN_WITHIN_S,
            )
            states = host.shell(f"drbdadm dstate {self.which.domain}").strip()
            assert set(states.split("/")) == {"UpToDate"}, states
            role = host.shell(f"drbdadm role {self.which.domain}").strip().split("/")[0]
            assert role == ("Primary" if host.name == at.name else "Secondary")
            wanted = {self.which.domain: "running"} if host.name == at.name else {}
            assert self.domains(host) == wanted

    def domains(self, host: SiteHost) -> dict[str, str]:
        """Of this guest: what libvirt has there, and its state."""
        rows = host.shell("virsh -q list --all").splitlines()
        found = (row.split(maxsplit=2) for row in rows if row.strip())
        return {name: state for _, name, state in found if name == self.which.domain}

    def _forbids_two(self, host: SiteHost) -> bool:
        name = self.which.domain
        try:
            kernel = host.shell(f"drbdsetup show --show-defaults {name}")
            file = host.shell(f"cat /etc/drbd.d/{name}.res")
        except (HostDownError, HostUnreachableError):
            return False
        said = [re.search(r"allow-two-primaries\s+(\w+);", text) for text in (kernel, file)]
        return all(match is not None and match[1] == "no" for match in said)


def slow(host: SiteHost) -> None:
    """What it sends of a guest gets narrow, and nothing else. Gone after a reboot, or `fast`."""
    host.shell(
        f"tc qdisc replace dev {INTERFACE} root handle 1: prio bands 3"
        f" priomap {' '.join('0' * 16)}\n"
        f"tc qdisc replace dev {INTERFACE} parent 1:3 handle 30:"
        f" netem rate {SLOW_KBIT}kbit limit {QUEUE_PACKETS}\n"
        f"tc filter replace dev {INTERFACE} parent 1: protocol ip prio 1"
        f" u32 match ip dport {MIGRATION_PORT} 0xffff flowid 1:3"
    )


def fast(host: SiteHost) -> None:
    """The whole link is there for it again."""
    host.delay(INTERFACE, 0)


def _job_bytes(told: str, what: str) -> float:
    """A row of `virsh domjobinfo`, "Data remaining:   97.660 MiB"; 0 if there is none."""
    match = re.search(rf"^Data {what}:\s+([\d.]+) (\w+)$", told, re.MULTILINE)
    units = {"B": 0, "KiB": 1, "MiB": 2, "GiB": 3}
    return float(match[1]) * 1024.0 ** units[match[2]] if match else 0.0
