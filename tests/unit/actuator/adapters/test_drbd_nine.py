"""DRBD 9 through its tools: what is read back, and what its peer is told to be given.

The tools are programs of this test's that note how they were called. That real ones are called
rightly is shown by the contract tests, on modules that are given.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from tandem_actuator.adapters.drbd.kernel import DrbdHost
from tandem_actuator.adapters.drbd.text import Options, parse_options
from tandem_actuator.adapters.drbd.tools import Tools
from tandem_actuator.adapters.linux.clock import SystemClock
from tandem_actuator.ports import CommandFailed
from tandem_api.kinds.mirror import DeviceNumbers, Mirror
from tandem_hostile import mirror

OF = Mirror.parse(mirror("m")).model_copy(
    update={
        "status": Mirror.parse(mirror("m")).status.model_copy(
            update={"device_numbers": DeviceNumbers(port=7789, minors={"root": 0})}
        )
    }
)
NAME = OF.drbd_name
OFF = {"on-no-data-accessible": "suspend-io", "auto-promote": False, "twopc-timeout": "50"}

SETUP = """#!/bin/sh
echo "$*" >> {folder}/called
case $1 in
    events2) cat {folder}/dump;;
    show) cat {folder}/shown;;
esac
"""
ADM = """#!/bin/sh
echo "{folder}/setup resource-options {name} --quorum=off"
echo "{folder}/setup new-peer {name} 1 --_name=peer"
echo "{folder}/setup connect {name} 1"
"""
DUMP = """\
exists resource name:{name} role:Primary suspended:no may_promote:no promotion_score:10102
exists connection name:{name} peer-node-id:1 conn-name:peer connection:Connected role:Secondary
exists device name:{name} volume:0 minor:0 disk:UpToDate client:no quorum:yes size:20440
exists peer-device name:{name} peer-node-id:1 conn-name:peer volume:0 replication:{busy} \
peer-disk:UpToDate peer-client:no resync-suspended:no out-of-sync:{lacks}
exists -
"""


class Nine:
    """A host with these tools, and what they were called with."""

    def __init__(
        self,
        folder: Path,
        options: dict[str, Any],
        lacks_kib: int = 0,
        replication: str = "Established",
    ) -> None:
        self.folder = folder
        for name, text in (("setup", SETUP), ("adm", ADM)):
            path = folder / name
            path.write_text(text.format(folder=folder, name=NAME))
            path.chmod(0o755)
        (folder / "dump").write_text(DUMP.format(name=NAME, lacks=lacks_kib, busy=replication))
        (folder / "shown").write_text(json.dumps([{"resource": NAME, "options": options}]))
        tools = Tools("9.2.19", "9.22.0", setup=str(folder / "setup"), adm=str(folder / "adm"))
        self.drbd = DrbdHost(tools, SystemClock(), folder)

    def refuse(self, word: str, why: str) -> None:
        """drbdsetup ends so where this is its last word."""
        path = self.folder / "setup"
        refusal = f'case "$*" in *{word}) echo "{why}" >&2; exit 10;; esac'
        path.write_text(f"{path.read_text()}{refusal}\n")

    def called(self, word: str) -> list[str]:
        lines = (self.folder / "called").read_text().splitlines()
        return [line for line in lines if line.split()[0] == word]


async def test_what_the_peer_lacks_is_copied_to_it_and_nothing_else(tmp_path: Path) -> None:
    """Without ``--reset-bitmap=no`` whole disks would be."""
    nine = Nine(tmp_path, OFF, lacks_kib=4)
    await nine.drbd.copy_to_peer(OF, whole=False)
    assert nine.called("invalidate-remote") == [f"invalidate-remote {NAME} 1 0 --reset-bitmap=no"]


async def test_all_is_copied_where_it_is_said_to_lack_something(tmp_path: Path) -> None:
    """The bits are gone, so nothing says what."""
    nine = Nine(tmp_path, OFF)
    await nine.drbd.copy_to_peer(OF, whole=True)
    assert nine.called("invalidate-remote") == [f"invalidate-remote {NAME} 1 0"]


OF_84 = "A higher DRBD protocol level is required for this operation"


async def test_a_peer_with_8_4_is_given_all(tmp_path: Path) -> None:
    """It cannot be told what it lacks. (Seen of 9.2.19 beside 8.4.11.)"""
    nine = Nine(tmp_path, OFF, lacks_kib=4)
    nine.refuse("--reset-bitmap=no", f"{NAME}: Failure: (175) {OF_84}")
    await nine.drbd.copy_to_peer(OF, whole=False)
    told = f"invalidate-remote {NAME} 1 0"
    assert nine.called("invalidate-remote") == [f"{told} --reset-bitmap=no", told]


async def test_any_other_refusal_is_one(tmp_path: Path) -> None:
    nine = Nine(tmp_path, OFF, lacks_kib=4)
    nine.refuse("--reset-bitmap=no", f"{NAME}: State change failed: (-7) no")
    with pytest.raises(CommandFailed, match=r"\(-7\) no"):
        await nine.drbd.copy_to_peer(OF, whole=False)
    assert len(nine.called("invalidate-remote")) == 1


async def test_a_peer_that_lacks_nothing_is_left_as_it_is(tmp_path: Path) -> None:
    nine = Nine(tmp_path, OFF)
    with pytest.raises(CommandFailed, match="nothing that its peer lacks"):
        await nine.drbd.copy_to_peer(OF, whole=False)
    assert not nine.called("invalidate-remote")


@pytest.mark.parametrize("replication", ["VerifyS", "SyncSource", "Off"])
async def test_it_is_told_only_once_it_does_nothing_else(tmp_path: Path, replication: str) -> None:
    """During a verification 9.2.19 stands still, with a peer neither current nor copied to."""
    nine = Nine(tmp_path, OFF, lacks_kib=4, replication=replication)
    with pytest.raises(CommandFailed, match=f"while DRBD is {replication}"):
        await nine.drbd.copy_to_peer(OF, whole=False)
    assert not nine.called("invalidate-remote")


async def test_8_4_would_copy_whole_disks_and_is_not_told_to(tmp_path: Path) -> None:
    nine = Nine(tmp_path, OFF, lacks_kib=4)
    eight = DrbdHost(Tools("8.4.11", "9.22.0", setup=nine.drbd.tools.setup), SystemClock())
    with pytest.raises(CommandFailed, match="connect it anew"):
        await eight.copy_to_peer(OF, whole=False)
    assert not (tmp_path / "called").exists()


async def test_it_attaches_and_does_not_connect(tmp_path: Path) -> None:
    nine = Nine(tmp_path, OFF)
    await nine.drbd.attach(OF)
    assert nine.called("new-peer")
    assert not nine.called("connect")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({**OFF, "quorum": "majority"}, "quorum majority, auto-promote no"),
        ({"twopc-timeout": "50"}, "quorum off, auto-promote yes"),
    ],
    ids=["quorum", "auto-promote"],
)
async def test_what_would_decide_beside_the_authority_is_refused(
    tmp_path: Path, options: dict[str, Any], told: str
) -> None:
    """As the kernel has it after it was told otherwise: when brought up, and when changed."""
    nine = Nine(tmp_path, options)
    for act in (nine.drbd.attach, nine.drbd.adjust):
        with pytest.raises(CommandFailed, match=f"{told}.*drbdadm adjust {NAME}"):
            await act(OF)


async def test_an_answer_that_cannot_be_read_is_no_yes(tmp_path: Path) -> None:
    nine = Nine(tmp_path, OFF)
    for text in ("", "[]", "{}", '[{"resource": "another"}]'):
        (tmp_path / "shown").write_text(text)
        with pytest.raises(CommandFailed, match=NAME):
            await nine.drbd.adjust(OF)


def test_what_is_as_by_default_is_not_shown() -> None:
    text = json.dumps([{"resource": NAME, "_this_host": {}}])
    assert parse_options(text, NAME) == Options(quorum="off", auto_promote=True)
