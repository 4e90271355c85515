"""What passes through a device, from the kernel's own texts."""

from dataclasses import replace
from pathlib import Path

import pytest

from tandem_actuator.adapters.drbd.block import with_requests
from tandem_actuator.adapters.drbd.proc import parse_proc, state_from_proc
from tandem_actuator.adapters.drbd.text import parse_dump, state_from_dump
from tandem_actuator.core.drbd import DrbdState, Traffic

MINORS = {"root": 0}
# 8.4.11, of a Primary whose own disk hangs.
PROC = """\
version: 8.4.11 (api:1/proto:86-101)
srcversion: 059B1B470318F053F5077D5
 0: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate C r-----
    ns:36 nr:0 dw:32 dr:45 al:1 bm:0 lo:1 pe:0 ua:0 ap:1 ep:1 wo:f oos:0
"""
STAT = "69 0 83 0 65 0 65 210 1 3940 210 3 0 0 0 2 0\n"
INFLIGHT = "       0        1\n"
# 9.2.19, with counts of its own.
DUMP = """\
exists resource name:t.m5 role:Primary suspended:no
exists connection name:t.m5 peer-node-id:1 conn-name:peer connection:Connected role:Secondary
exists device name:t.m5 volume:0 minor:0 backing_dev:/dev/vg0/m5 disk:UpToDate client:no \
quorum:yes size:32728 read:5 written:40 al-writes:1 bm-writes:2 upper-pending:3 lower-pending:2 \
al-suspended:no blocked:no
exists peer-device name:t.m5 peer-node-id:1 conn-name:peer volume:0 replication:Established \
peer-disk:UpToDate peer-client:no resync-suspended:no received:0 sent:44 out-of-sync:8 pending:0 \
unacked:0
exists -
"""


def eight(text: str = PROC) -> DrbdState:
    state = state_from_proc(parse_proc(text), MINORS, 5.0)
    assert isinstance(state, DrbdState)
    return state


def nine(text: str = DUMP) -> DrbdState:
    state = state_from_dump(parse_dump(text)["t.m5"], ["root"], 5.0)
    assert isinstance(state, DrbdState)
    return state


def traffic(state: DrbdState) -> Traffic:
    return state.volumes["root"].traffic


def test_of_eight() -> None:
    assert traffic(eight()) == Traffic(asked=1, at_disk=1, moved=36 + 32 + 45 + 1)


def test_of_nine() -> None:
    assert traffic(nine()) == Traffic(asked=3, at_disk=2, moved=5 + 40 + 1 + 2 + 44 + 8)


def test_a_verification_reads_what_is_counted_nowhere() -> None:
    assert traffic(eight(PROC.replace("cs:Connected", "cs:VerifyS"))).at_disk == 0
    assert traffic(nine(DUMP.replace("Established", "VerifyT"))).at_disk == 0


@pytest.fixture
def block(tmp_path: Path) -> Path:
    device = tmp_path / "drbd0"
    device.mkdir()
    (device / "stat").write_text(STAT)
    (device / "inflight").write_text(INFLIGHT)
    return tmp_path


class TestBlock:
    def test_writes_discards_and_flushes_count(self, block: Path) -> None:
        found = traffic(with_requests(eight(), MINORS, block))
        assert found == replace(traffic(eight()), read=69, writes=1, written=65 + 3 + 2)

    def test_reads(self, block: Path) -> None:
        (block / "drbd0" / "inflight").write_text("       2        0\n")
        assert traffic(with_requests(eight(), MINORS, block)).reads == 2

    def test_an_older_kernel_counts_fewer(self, block: Path) -> None:
        (block / "drbd0" / "stat").write_text("69 0 83 0 65 0 65 210 1 3940 210\n")
        assert traffic(with_requests(eight(), MINORS, block)).written == 65

    def test_what_has_ended_is_read_first(
        self, block: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        order, read_text = list[str](), Path.read_text

        def read(path: Path) -> str:
            order.append(path.name)
            return read_text(path)

        monkeypatch.setattr(Path, "read_text", read)
        with_requests(eight(), MINORS, block)
        assert order == ["stat", "inflight"]

    def test_a_volume_without_a_number_has_no_counts(self, block: Path) -> None:
        assert traffic(with_requests(eight(), {}, block)) == traffic(eight())

    def test_nothing_is_read_where_nothing_was_asked(self, block: Path) -> None:
        calm = eight(PROC.replace("ap:1", "ap:0"))
        assert with_requests(calm, MINORS, block) is calm

    @pytest.mark.parametrize("name", ["stat", "inflight"])
    @pytest.mark.parametrize("text", ["", "1 2 many\n", None])
    def test_a_look_does_not_fail_for_it(self, block: Path, name: str, text: str | None) -> None:
        path = block / "drbd0" / name
        if text is None:
            path.unlink()
        else:
            path.write_text(text)
        assert traffic(with_requests(eight(), MINORS, block)) == traffic(eight())
