"""Whether a device carries DRBD's metadata, by what the tools say, and of which DRBD.

The tools are programs of this test's. That real ones say so is shown by the contract tests.
"""

from pathlib import Path

import pytest

from tandem_actuator.adapters.drbd.kernel import DrbdHost
from tandem_actuator.adapters.drbd.tools import Tools
from tandem_actuator.adapters.linux.clock import SystemClock
from tandem_actuator.core.drbd import Metadata
from tandem_actuator.ports import CommandFailed
from tandem_api.kinds.mirror import DeviceNumbers, Mirror
from tandem_hostile import mirror

MADE = Mirror.parse(mirror("m"))
NUMBERS = DeviceNumbers(port=7789, minors={"root": 4})
OF = MADE.model_copy(update={"status": MADE.status.model_copy(update={"device_numbers": NUMBERS})})

NONE = "No valid meta data found"
UNCLEAN = 'Found meta data is "unclean", please apply-al first'
ADM = """#!/bin/sh
[ $1 = sh-ll-dev ] && echo /dev/vg0/m-root && exit 0
[ $1 = get-gi ] && exit 1
echo '{own}' >&2
exit 1
"""
META = """#!/bin/sh
echo "$*" >> {folder}/called
[ -z '{other}' ] && exit 0
echo '{other}' >&2
exit 1
"""


def host(folder: Path, version: str, own: str, other: str) -> DrbdHost:
    """Its drbdadm says ``own``, and drbdmeta of the other format ``other``; empty: it is there."""
    for name, text in (("adm", ADM), ("meta", META)):
        path = folder / name
        path.write_text(text.format(folder=folder, own=own, other=other))
        path.chmod(0o755)
    tools = Tools(version, "9.22.0", adm=str(folder / "adm"), meta=str(folder / "meta"))
    return DrbdHost(tools, SystemClock(), folder)


@pytest.mark.parametrize(
    ("version", "found"), [("8.4.11", Metadata.V09), ("9.2.19", Metadata.V08)], ids=["8", "9"]
)
@pytest.mark.parametrize("other", ["", UNCLEAN], ids=["clean", "unclean"])
async def test_that_of_the_other_drbd_is_none_of_its_own(
    tmp_path: Path, version: str, found: Metadata, other: str
) -> None:
    drbd = host(tmp_path, version, NONE, other)
    assert await drbd.metadata(OF) == {"root": found}
    asked = (tmp_path / "called").read_text().splitlines()
    assert asked == [f"4 {found.value} /dev/vg0/m-root internal dump-md"]


async def test_of_neither_there_is_none(tmp_path: Path) -> None:
    assert await host(tmp_path, "9.2.19", NONE, NONE).metadata(OF) == {"root": Metadata.ABSENT}


async def test_its_own_is_not_looked_for_twice(tmp_path: Path) -> None:
    drbd = host(tmp_path, "9.2.19", UNCLEAN, "")
    assert await drbd.metadata(OF) == {"root": Metadata.PRESENT}
    assert not (tmp_path / "called").exists()


@pytest.mark.parametrize(
    ("own", "other"), [("open failed", NONE), (NONE, "open failed")], ids=["own", "other"]
)
async def test_what_cannot_be_read_is_not_absent(tmp_path: Path, own: str, other: str) -> None:
    with pytest.raises(CommandFailed, match="metadata not readable: open failed"):
        await host(tmp_path, "9.2.19", own, other).metadata(OF)
