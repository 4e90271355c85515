"""What DRBD 9 shows, in 8.4's words; and what its tools are told."""

import pytest

from conformance.drbd_tools import Eight, Nine, Resource, line_of
from conformance.language import ANSWERED

RESOURCE = Resource("c3-1", 3, 0, "/dev/vg0/c3-0", "ipv4:192.0.2.1:7903", "ipv4:192.0.2.2:7903")


def events(
    *, suspended: str = "no", connection: str = "Connected", role: str, disks: str, moving: str
) -> str:
    mine, theirs = disks.split("/")
    link = f"name:c3-1 peer-node-id:1 conn-name:peer connection:{connection}"
    return "\n".join(
        [
            f"exists resource name:c3-1 role:{role} suspended:{suspended} may_promote:no",
            f"exists connection {link} role:Secondary",
            f"exists device name:c3-1 volume:0 minor:3 disk:{mine} quorum:yes",
            f"exists peer-device name:c3-1 volume:0 replication:{moving} peer-disk:{theirs}",
            "exists -",
        ]
    )


def test_a_resource_is_shown_as_8_shows_it() -> None:
    text = events(role="Primary", disks="UpToDate/UpToDate", moving="Established")
    assert line_of(text) == "cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate C r-----"


def test_what_moves_is_shown_instead_of_the_connection() -> None:
    text = events(role="Primary", disks="UpToDate/Inconsistent", moving="SyncSource")
    assert line_of(text).startswith("cs:SyncSource ")


def test_a_frozen_one() -> None:
    text = events(
        suspended="fencing",
        connection="Connecting",
        role="Primary",
        disks="UpToDate/DUnknown",
        moving="Off",
    )
    assert line_of(text) == "cs:WFConnection ro:Primary/Secondary ds:UpToDate/DUnknown C s-----"


@pytest.mark.parametrize(
    "text",
    ["exists -", "", "c3-1: no such resource", "exists resource name:c3-1 role:Secondary"],
)
def test_what_holds_nothing_is_not_configured(text: str) -> None:
    assert line_of(text) == ""


@pytest.mark.parametrize("tools", [Eight(), Nine()])
def test_every_command_has_its_words(tools: Eight | Nine) -> None:
    for verb in sorted(ANSWERED):
        steps = tools.argv(RESOURCE, verb, ["--force"] if verb == "primary" else [])
        assert all(word for words in steps for word in words), verb
