"""The durable records on disk."""

import json
from pathlib import Path

import pytest

from tandem_actuator.adapters.records import FileRecords
from tandem_actuator.core.model import Record
from tandem_actuator.ports import PortError
from tandem_api.mirror import Marker
from tandem_api.reasons import Reason

RECORD = Record(
    uid="u1",
    incarnation="i1",
    max_epoch=7,
    owned_epoch=5,
    marker=Marker(reason=Reason.LOCAL_DISK_FAILED, since="2026-01-01T00:00:00Z"),
    attached=True,
)


@pytest.fixture
def records(tmp_path: Path) -> FileRecords:
    return FileRecords(tmp_path / "state" / "mirrors")


def test_what_is_stored_is_loaded_also_by_the_next_run(records: FileRecords) -> None:
    records.store("ns.m1", RECORD)
    assert records.load("ns.m1") == RECORD
    assert FileRecords(records.directory).load("ns.m1") == RECORD
    assert records.names() == ["ns.m1"]


def test_no_record_is_none(records: FileRecords) -> None:
    assert records.load("ns.m1") is None


def test_a_new_record_replaces_the_old_one_and_leaves_nothing_else(records: FileRecords) -> None:
    records.store("ns.m1", RECORD)
    records.store("ns.m1", Record(uid="u2"))
    assert records.load("ns.m1") == Record(uid="u2")
    assert [path.name for path in records.directory.iterdir()] == ["ns.m1.json"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": 1}', b"\xff\xfe"])
def test_a_damaged_record_is_an_error_and_not_absent(records: FileRecords, content: bytes) -> None:
    (records.directory / "ns.m1.json").write_bytes(content)
    with pytest.raises(PortError, match=r"ns\.m1\.json"):
        records.load("ns.m1")


@pytest.mark.parametrize("change", [{"format": 2}, {"novelty": 1}, {"max_epoch": -1}])
def test_a_record_of_another_version_is_an_error(
    records: FileRecords, change: dict[str, object]
) -> None:
    records.store("ns.m1", RECORD)
    path = records.directory / "ns.m1.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(PortError):
        records.load("ns.m1")


def test_a_full_disk_leaves_the_old_record(records: FileRecords) -> None:
    records.store("ns.m1", RECORD)
    # A directory in the draft's place stands for anything that keeps it from being written.
    (records.directory / ".ns.m1.json.new").mkdir()
    with pytest.raises(PortError):
        records.store("ns.m1", Record(uid="u2"))
    assert records.load("ns.m1") == RECORD


@pytest.mark.parametrize("name", ["", "../etc", "a/b", ".hidden"])
def test_names_that_are_no_resources_are_refused(records: FileRecords, name: str) -> None:
    with pytest.raises(PortError):
        records.load(name)


def test_forget(records: FileRecords) -> None:
    records.store("ns.m1", RECORD)
    assert records.forget("ns.m1")
    assert not records.forget("ns.m1")
    assert records.load("ns.m1") is None
