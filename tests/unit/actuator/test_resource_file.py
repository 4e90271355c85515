"""DRBD's configuration as it is written. That DRBD can read it is shown by the contract tests."""

import re
from pathlib import Path

import pytest

from tandem_actuator.adapters.drbd.tools import _warn_of_time_limit
from tandem_actuator.core.mirror.resource_file import GLOBAL_FILE, render
from tandem_api.kinds.mirror import DeviceNumbers, Mirror
from tandem_api.timing import DEFAULT, drbd_timers

ADDRESSES = {"host-a": "198.51.100.11", "host-b": "198.51.100.12"}
FENCE_PEER = "/usr/local/bin/tandem-fence-peer /run/tandem/actuator.sock"
NUMBERS = DeviceNumbers(port=7801, minors={"root": 10, "data": 11})

EXPECTED_8 = """\
# ns/m1, written by the Tandem node actuator. Do not edit: it is replaced.
resource "ns.m1" {
    options {
        on-no-data-accessible suspend-io;
    }
    net {
        protocol C;
        ping-int 1;
        ping-timeout 5;
        timeout 9;
        connect-int 1;
        ko-count 5;
        after-sb-0pri disconnect;
        after-sb-1pri disconnect;
        after-sb-2pri disconnect;
        rr-conflict disconnect;
        on-congestion block;
        allow-two-primaries no;
    }
    disk {
        on-io-error detach;
        resync-rate 30M;
        c-plan-ahead 20;
        c-fill-target 1M;
        c-min-rate 10M;
        c-max-rate 112640k;
        fencing resource-and-stonith;
    }
    handlers {
        fence-peer "/usr/local/bin/tandem-fence-peer /run/tandem/actuator.sock";
    }
    volume 0 {
        device minor 10;
        meta-disk internal;
    }
    volume 1 {
        device minor 11;
        meta-disk internal;
    }
    floating ipv4 198.51.100.11:7801 {
        volume 0 {
            disk "/dev/vg0/m1-root";
        }
        volume 1 {
            disk "/dev/vg0/m1-data";
        }
    }
    floating ipv4 198.51.100.12:7801 {
        volume 0 {
            disk "/dev/vg0/m1-root";
        }
        volume 1 {
            disk "/dev/vg0/m1-data";
        }
    }
}
"""


def mirror(**spec: object) -> Mirror:
    devices = {"root": "/dev/vg0/m1-root", "data": "/dev/vg0/m1-data"}
    return Mirror.parse(
        {
            "metadata": {"namespace": "ns", "name": "m1"},
            "spec": {
                "volumes": [{"name": "root", "size": "1Gi"}, {"name": "data", "size": "2Gi"}],
                "replicas": [
                    {"host": "host-a", "devices": devices},
                    {"host": "host-b", "devices": devices},
                ],
                **spec,
            },
        }
    )


def text(of: Mirror | None = None, major: int = 8, **changes: object) -> str:
    values: dict[str, object] = {"addresses": ADDRESSES, "fence_peer": FENCE_PEER, **changes}
    return render(
        of or mirror(),
        values["addresses"],  # type: ignore[arg-type]
        NUMBERS,
        drbd_timers(DEFAULT),
        version_major=major,
        fence_peer=str(values["fence_peer"]),
        two_primaries=bool(values.get("two_primaries")),
    )


def section(of: str, name: str) -> str:
    found = re.search(rf"^    {name} \{{\n(.*?)^    \}}", of, re.M | re.S)
    assert found is not None
    return found[1]


def test_all_of_it_for_8_4() -> None:
    assert text() == EXPECTED_8


def test_fencing_stands_where_each_version_wants_it() -> None:
    assert "fencing" in section(text(major=8), "disk")
    assert "fencing" not in section(text(major=8), "net")
    assert "fencing" in section(text(major=9), "net")
    assert "fencing" not in section(text(major=9), "disk")


def test_nine_never_promotes_by_itself_and_its_hosts_are_numbered() -> None:
    nine = text(major=9)
    assert "auto-promote no;" in section(nine, "options")
    assert re.findall(r"node-id (\d);", nine) == ["0", "1"]
    assert "node-id" not in text(major=8)


def test_on_nine_nothing_but_the_authority_decides() -> None:
    options = section(text(major=9), "options")
    assert "quorum off;" in options
    assert "auto-promote no;" in options
    assert not {"quorum", "auto-promote"} & set(section(text(major=8), "options").split())


def test_nines_connection_has_a_name_that_it_takes() -> None:
    """By itself drbdadm calls it by an address and a port, and 9.2 refuses the colon."""
    assert "_name peer;" in section(text(major=9), "net")
    assert "_name" not in text(major=8)


def test_nine_waits_for_a_silent_peer_no_longer_than_it_must() -> None:
    assert "twopc-timeout 50;" in section(text(major=9), "options")
    assert "twopc" not in text(major=8)


def test_a_hosts_number_does_not_depend_on_the_order_in_the_spec() -> None:
    swapped = mirror(replicas=[r.wire() for r in reversed(mirror().spec.replicas)])
    assert text(swapped, major=9) == text(major=9)


@pytest.mark.parametrize("major", [8, 9])
@pytest.mark.parametrize("never", ["unfence-peer", "become-primary-on", "dont-care", "discard"])
def test_what_is_never_in_it(major: int, never: str) -> None:
    assert never not in text(major=major)


def test_the_spec_decides_protocol_and_resync_rate() -> None:
    of = text(mirror(protocol="A", resyncRateMax="40Mi"))
    assert "protocol A;" in of
    assert "fencing resource-only;" in of
    assert "fencing resource-and-stonith;" in text(mirror(protocol="B"))
    assert "c-max-rate 40960k;" in of


def test_ipv6() -> None:
    of = text(addresses={"host-a": "2001:db8::11", "host-b": "2001:db8::12"})
    assert "floating ipv6 [2001:db8::11]:7801 {" in of


def test_a_host_without_an_address_is_an_error() -> None:
    with pytest.raises(ValueError, match="host-b"):
        text(addresses={"host-a": "198.51.100.11"})


def test_a_volume_without_a_number_is_an_error() -> None:
    with pytest.raises(ValueError, match="more"):
        devices = {v: f"/dev/vg0/{v}" for v in ("root", "data", "more")}
        text(
            mirror(
                volumes=[{"name": v, "size": "1Gi"} for v in devices],
                replicas=[{"host": h, "devices": devices} for h in ADDRESSES],
            )
        )


@pytest.mark.parametrize("command", ['a"b', "a\nb"])
def test_a_command_that_would_leave_its_quotes_is_an_error(command: str) -> None:
    with pytest.raises(ValueError, match="quoted"):
        text(fence_peer=command)


@pytest.mark.parametrize(("line", "warned"), [("", False), ("0", False), ("60", True)])
def test_a_time_limit_for_handlers_is_warned_of(
    line: str, warned: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    limit = f"    cmd-timeout-long {line};\n" if line else ""
    (tmp_path / GLOBAL_FILE).write_text(f"global {{\n    usage-count no;\n{limit}}}\n")
    _warn_of_time_limit(tmp_path)
    assert ("set it to 0" in caplog.text) is warned


def test_two_primaries_are_allowed_while_a_guest_is_sent_and_nothing_else_changes() -> None:
    for major in (8, 9):
        never, sending = text(major=major), text(major=major, two_primaries=True)
        assert "allow-two-primaries no;" in section(never, "net")
        assert sending == never.replace("allow-two-primaries no;", "allow-two-primaries yes;")
