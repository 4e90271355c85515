"""The lab itself: what it promises to everything that is tested in it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tandem_lab.agent_client import CommandError, HostUnreachableError
from tandem_lab.guests import counter_domain_xml, read_counter, write_counter_guest
from tandem_lab.hand_made import HandMadeMirror, hand_made_mirror
from tandem_lab.host_state import HostDownError
from tandem_lab.lab import Lab
from tandem_lab.network import Cut, Direction
from tandem_lab.settings import LabError
from tandem_lab.site_host import SiteHost
from tandem_lab.topology import REPLICATION

pytestmark = pytest.mark.lab

WARM_UP_S = 3.0
TAKEOVER_TIMEOUT_S = 30.0


def test_commands_give_back_output_and_exit_code(lab: Lab) -> None:
    host = lab.hosts[0]
    result = host.run(["sh", "-c", "echo out; echo err >&2; cat; exit 3"], stdin=b"in\n")
    assert (result.stdout, result.stderr, result.exit_code) == ("out\nin\n", "err\n", 3)
    with pytest.raises(CommandError, match="exit code 3"):
        result.check()


def test_a_command_that_hangs_is_ended(lab: Lab) -> None:
    started = time.monotonic()
    result = lab.hosts[0].run(["sleep", "60"], timeout_s=1.0)
    assert result.exit_code is None
    assert time.monotonic() - started < 5.0


def test_hosts_are_two_machines(lab: Lab) -> None:
    first, second = lab.hosts[:2]
    assert first.shell("hostname").strip() == first.name
    assert first.boot_id() != second.boot_id()
    uuids = {host.shell("grep ^host_uuid /etc/libvirt/libvirtd.conf") for host in (first, second)}
    assert len(uuids) == 2


def test_clocks_agree_with_the_machine(lab: Lab) -> None:
    for host in lab.hosts:
        wall_s = float(host.shell("date +%s.%N"))
        assert abs(wall_s - time.time()) < 1.0


def test_a_cut_is_silent_and_one_way_if_asked(restored_lab: Lab) -> None:
    first, second = restored_lab.hosts[:2]
    link = restored_lab.link("replication")
    assert _pings(first, second)

    link.cut(first.name, Direction.OUT)
    assert restored_lab.network.cuts() == [Cut("replication", first.name, Direction.OUT)]
    assert first.shell("cat /sys/class/net/repl/carrier").strip() == "1"
    assert _frames_heard(second, first) == 0
    assert _frames_heard(first, second) >= 3

    link.heal(first.name)
    link.cut(first.name, Direction.IN)
    assert _frames_heard(second, first) >= 3
    assert _frames_heard(first, second) == 0

    link.heal()
    link.cut()
    assert not _pings(first, second)
    link.heal()
    assert restored_lab.network.cuts() == []
    assert _pings(first, second)


def test_delay(restored_lab: Lab) -> None:
    first, second = restored_lab.hosts[:2]
    link = restored_lab.link("replication")
    link.delay(30, first.name)
    assert 30.0 <= _round_trip_ms(first, second) < 60.0
    link.delay(0, first.name)
    assert _round_trip_ms(first, second) < 30.0


def test_a_paused_host_does_nothing_and_then_goes_on(restored_lab: Lab) -> None:
    host = restored_lab.hosts[1]
    boot_id, before_s = host.boot_id(), _boottime_s(host)
    paused_at_s = time.monotonic()
    host.pause()
    assert host.state().paused
    with pytest.raises(HostUnreachableError):
        host.run(["true"], timeout_s=1.0)
    host.resume()
    assert host.boot_id() == boot_id
    # The stall counts: a lease that was timed on this clock has expired.
    stalled_s = time.monotonic() - paused_at_s
    assert _boottime_s(host) - before_s >= stalled_s - 0.5


def test_a_killed_host_comes_back_with_its_disks_and_a_new_boot_id(restored_lab: Lab) -> None:
    host = restored_lab.hosts[1]
    boot_id = host.boot_id()
    device = host.create_volume("survives", "8M")
    host.shell(f"echo kept >/var/lib/tandem/marker; sync; echo kept | dd of={device} conv=fsync")
    host.shell("echo lost >/etc/marker; sync")
    host.kill()
    assert not host.is_up
    with pytest.raises(HostDownError):
        host.run(["true"])
    host.start()
    assert host.boot_id() != boot_id
    assert host.shell("cat /var/lib/tandem/marker").strip() == "kept"
    assert host.shell(f"head -c 4 {device}") == "kept"
    assert not host.run(["test", "-e", "/etc/marker"]).ok
    host.shell("lvremove -q -y vg0/survives")


def test_nothing_starts_by_itself(restored_lab: Lab) -> None:
    host = restored_lab.hosts[1]
    host.restart()
    assert host.shell("virsh -q list --all --name").strip() == ""
    # No minor is configured before somebody brings a resource up.
    assert "cs:" not in host.shell("cat /proc/drbd")


def test_an_unfed_watchdog_resets_the_host(restored_lab: Lab) -> None:
    host = restored_lab.hosts[1]
    boot_id = host.boot_id()
    # Closing it without the magic V leaves it armed.
    host.shell("exec 3>/dev/watchdog1; echo 1 >&3")
    deadline = time.monotonic() + (host.spec.softdog_margin_s or 0) + 15.0
    while host.is_up and host.boots()[-1].boot_id == boot_id:
        assert time.monotonic() < deadline, "the watchdog did not bite"
        time.sleep(0.2)
    if host.is_up:
        host.wait_ready()
        assert host.boot_id() == host.boots()[-1].boot_id


def test_only_one_program_may_use_the_lab(lab: Lab) -> None:
    with pytest.raises(LabError, match="another program"), lab.exclusive():
        pass


@pytest.fixture
def mirror(restored_lab: Lab) -> Iterator[HandMadeMirror]:
    mirror = hand_made_mirror(restored_lab, "bancuv3", minor=3)
    mirror.create()
    yield mirror
    for host in mirror.hosts:
        if not host.is_up:
            host.start()
        host.run(["virsh", "-q", "destroy", mirror.name])
        host.run(["drbdsetup", "down", mirror.name])
        host.shell(f"lvremove -q -y vg0/{mirror.name}")


def test_no_write_is_lost_when_a_site_dies(restored_lab: Lab, mirror: HandMadeMirror) -> None:
    """The end-to-end path by hand: guest at A, A dies, promote and start at B."""
    a, b = mirror.hosts
    mirror.promote(a)
    write_counter_guest(a, mirror.device, restored_lab.settings)
    for host in (a, b):
        host.write_file("/tmp/guest.xml", counter_domain_xml(mirror.name, [mirror.device]))
    a.shell("virsh -q create /tmp/guest.xml")
    time.sleep(WARM_UP_S)
    a.kill()
    killed_at_s = time.monotonic()

    b.shell(f"until [ $(drbdadm cstate {mirror.name}) != Connected ]; do sleep 0.1; done")
    mirror.promote(b)
    assert read_counter(b, mirror.device) > 0
    b.shell("virsh -q create /tmp/guest.xml")
    first = restored_lab.wait_guest_line(mirror.name, b.name, killed_at_s, TAKEOVER_TIMEOUT_S)
    time.sleep(1.0)

    printed_at_a = [number for _, number in restored_lab.guest_log(mirror.name, a.name)]
    printed_at_b = [number for _, number in restored_lab.guest_log(mirror.name, b.name)]
    assert printed_at_a == list(range(1, len(printed_at_a) + 1))
    found = int(first.text.removeprefix("boot "))
    assert printed_at_a[-1] <= found, "an acknowledged write is missing at the other site"
    assert printed_at_b[0] == found + 1
    print(f"first line {first.monotonic_s - killed_at_s:.2f} s after the kill")


def _pings(sender: SiteHost, receiver: SiteHost) -> bool:
    address = REPLICATION.address(receiver.spec)
    return sender.run(["ping", "-c", "2", "-i", "0.2", "-W", "1", address]).ok


def _round_trip_ms(sender: SiteHost, receiver: SiteHost) -> float:
    address = REPLICATION.address(receiver.spec)
    sender.shell(f"ping -c 1 {address}")  # so that no address resolution is timed
    answer = sender.shell(f"ping -q -c 5 -i 0.2 {address} | tail -1")
    return float(answer.split("=")[1].split("/")[0])  # the minimum: the machine is shared


def _boottime_s(host: SiteHost) -> float:
    script = "import time; print(time.clock_gettime(time.CLOCK_BOOTTIME))"
    return float(host.run(["python3", "-S", "-c", script]).check().stdout)


def _frames_heard(listener: SiteHost, sender: SiteHost) -> int:
    """How many of three broadcasts of `sender` reach `listener` on the replication link."""
    counter = "cat /sys/class/net/repl/statistics/rx_packets"
    before = int(listener.shell(counter))
    sender.run(["arping", "-q", "-b", "-c", "3", "-w", "4", "-I", "repl", "198.51.100.250"])
    return int(listener.shell(counter)) - before
