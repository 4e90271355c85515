"""What a crash between any two operations leaves of the actuator's files, and what a broken disk
does. On the simulated file system, which keeps only what was synced.
"""

import errno
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.host.file_faults import Damage, Operation
from sim.host.files import SimFiles
from tandem_actuator.adapters.files.lockfile import HostLock, LockHeld
from tandem_actuator.adapters.files.object_cache import ObjectCache
from tandem_actuator.adapters.files.permit import PermitFile
from tandem_actuator.adapters.files.records import FileRecords
from tandem_actuator.core.model import MigrationNote, Record
from tandem_actuator.ports import PortError
from tandem_api.kinds.guest import Guest
from tandem_api.kinds.mirror import Mirror
from tandem_api.timing import DEFAULT, FAST
from tandem_hostile import guest, mirror

STATE, RUN = Path("/var/lib/tandem/mirrors"), Path("/run/tandem")
OLD, NEW = Record(uid="u1", max_epoch=3, attached=True), Record(uid="u1", max_epoch=4)
MIRROR, GUEST = Mirror.parse(mirror("g")), Guest.parse(guest("g"))
ENOUGH = 12
"""Operations: more than any one change of a file takes."""
search = settings(max_examples=400, deadline=None)
seeds = st.integers(0, 2**32)


class Killed(BaseException):
    """The program ends between two operations: nothing that it would do comes after."""


@contextmanager
def after(files: SimFiles, operations: int, act: Callable[[], None]) -> Iterator[None]:
    """In what is done here, something happens after so many operations."""
    left = operations

    def count(operation: Operation, path: Path) -> None:
        nonlocal left
        if left == 0:
            act()
        left -= 1

    files.before = count
    try:
        yield
    finally:
        files.before = lambda operation, path: None


def kill() -> None:
    raise Killed


def disk(seed: int = 1) -> SimFiles:
    """As an installed host has it: all that is there is durable."""
    files = SimFiles(random.Random(seed))
    for directory in (STATE.parents[1], STATE.parents[2], RUN.parent):
        files.put(directory / "there", b"")
    return files


def power_cycle(files: SimFiles) -> None:
    files.power_cut()
    files.power_on()


def names_in(files: SimFiles, directory: Path) -> list[str]:
    return [name for name in files.list_names(directory) if name != "there"]


class TestRecordsAndPowerCuts:
    def test_the_next_run_knows_its_part_in_a_migration(self) -> None:
        """Else a source would not know that its guest is gone, nor a target of its half."""
        out = MigrationNote("m1", "a-1/boot1/run1", 900.25, gone=True)
        into = MigrationNote("m2", "a-1/boot1/run1", 900.5, over=True)
        files, noted = disk(), Record(uid="u1", outgoing=out, incoming=into)
        FileRecords(STATE, files).store("ns.m1", noted)
        power_cycle(files)
        assert FileRecords(STATE, files).load("ns.m1") == noted

    @search
    @given(seeds, st.integers(0, ENOUGH))
    def test_it_is_the_old_record_or_the_new_one(self, seed: int, operations: int) -> None:
        files = disk(seed)
        records = FileRecords(STATE, files)
        records.store("ns.m1", OLD)
        stored = False
        with after(files, operations, files.power_cut):
            try:
                records.store("ns.m1", NEW)
                stored = True
            except PortError:
                pass
        power_cycle(files)
        found = FileRecords(STATE, files).load("ns.m1")
        assert found == NEW if stored else found in (OLD, NEW)

    @search
    @given(seeds, st.integers(0, ENOUGH))
    def test_a_first_record_is_there_or_not(self, seed: int, operations: int) -> None:
        files = disk(seed)
        records = FileRecords(STATE, files)
        stored = False
        with after(files, operations, files.power_cut):
            try:
                records.store("ns.m1", NEW)
                stored = True
            except PortError:
                pass
        power_cycle(files)
        found = FileRecords(STATE, files).load("ns.m1")
        assert found == NEW if stored else found in (None, NEW)

    @search
    @given(seeds, st.integers(0, ENOUGH))
    def test_a_killed_program_is_a_smaller_crash(self, seed: int, operations: int) -> None:
        """And a power cut after it finds nothing half done."""
        files = disk(seed)
        FileRecords(STATE, files).store("ns.m1", OLD)
        stored = False
        with after(files, operations, kill):
            try:
                FileRecords(STATE, files).store("ns.m1", NEW)
                stored = True
            except Killed:
                files.program_ends()
        assert FileRecords(STATE, files).load("ns.m1") in ([NEW] if stored else [OLD, NEW])
        power_cycle(files)
        assert FileRecords(STATE, files).load("ns.m1") in ([NEW] if stored else [OLD, NEW])

    @search
    @given(seeds, st.integers(0, ENOUGH))
    def test_what_was_stored_does_not_vanish_with_its_directory(
        self, seed: int, operations: int
    ) -> None:
        """The run that made the directory was killed; the next one stores in it."""
        files = disk(seed)
        with after(files, operations, kill):
            try:
                FileRecords(STATE, files)
            except Killed:
                files.program_ends()
        FileRecords(STATE, files).store("ns.m1", NEW)
        power_cycle(files)
        assert FileRecords(STATE, files).load("ns.m1") == NEW

    def test_a_forgotten_record_stays_forgotten(self) -> None:
        for seed in range(20):
            files = disk(seed)
            records = FileRecords(STATE, files)
            records.store("ns.m1", OLD)
            records.forget("ns.m1")
            power_cycle(files)
            assert FileRecords(STATE, files).load("ns.m1") is None


class TestRecordsOnABrokenDisk:
    @pytest.mark.parametrize(
        "operation", [Operation.CREATE, Operation.WRITE, Operation.SYNC, Operation.RENAME]
    )
    @pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
    def test_what_cannot_be_stored_leaves_the_old_record_and_no_draft(
        self, operation: Operation, number: int
    ) -> None:
        files = disk()
        records = FileRecords(STATE, files)
        records.store("ns.m1", OLD)
        files.fail(operation, number)
        with pytest.raises(PortError, match="cannot write"):
            records.store("ns.m1", NEW)
        assert records.load("ns.m1") == OLD
        assert names_in(files, STATE) == ["ns.m1.json"]
        files.mend()
        records.store("ns.m1", NEW)
        power_cycle(files)
        assert FileRecords(STATE, files).load("ns.m1") == NEW

    def test_a_name_that_cannot_be_synced_is_told(self) -> None:
        files = disk()
        records = FileRecords(STATE, files)
        files.fail(Operation.SYNC_DIRECTORY)
        with pytest.raises(PortError, match="cannot write"):
            records.store("ns.m1", NEW)

    def test_a_full_disk_and_a_read_only_one(self) -> None:
        files = disk()
        records = FileRecords(STATE, files)
        records.store("ns.m1", OLD)
        for fault in ("full", "read_only"):
            setattr(files, fault, True)
            with pytest.raises(PortError, match="cannot write"):
                records.store("ns.m1", NEW)
            assert FileRecords(STATE, files).load("ns.m1") == OLD  # a run may begin
            files.mend()

    @pytest.mark.parametrize("how", list(Damage))
    def test_a_damaged_record_is_never_taken_for_none(self, how: Damage) -> None:
        for seed in range(50):
            files = disk(seed)
            records = FileRecords(STATE, files)
            records.store("ns.m1", OLD)
            files.damage(STATE / "ns.m1.json", how)
            with suppress(PortError):
                assert records.load("ns.m1") is not None

    def test_an_unreadable_record_is_never_taken_for_none(self) -> None:
        files = disk()
        records = FileRecords(STATE, files)
        records.store("ns.m1", OLD)
        files.fail(Operation.READ)
        with pytest.raises(PortError, match="cannot read"):
            records.load("ns.m1")


class TestObjectCache:
    @search
    @given(seeds, st.integers(0, ENOUGH))
    def test_a_killed_program_leaves_the_old_copy_or_the_new(
        self, seed: int, operations: int
    ) -> None:
        files = SimFiles(random.Random(seed), tmpfs=True)
        ObjectCache(RUN / "objects", files).store(MIRROR, None)
        with after(files, operations, kill):
            try:
                ObjectCache(RUN / "objects", files).store(MIRROR, GUEST)
            except Killed:
                files.program_ends()
        assert ObjectCache(RUN / "objects", files).load() in ([(MIRROR, None)], [(MIRROR, GUEST)])

    def test_nothing_outlives_a_boot(self) -> None:
        files = SimFiles(random.Random(1), tmpfs=True)
        ObjectCache(RUN / "objects", files).store(MIRROR, GUEST)
        power_cycle(files)
        assert ObjectCache(RUN / "objects", files).load() == []

    def test_what_is_there_already_is_not_written_again(self) -> None:
        files = SimFiles(random.Random(1), tmpfs=True)
        cache = ObjectCache(RUN / "objects", files)
        cache.store(MIRROR, GUEST)
        with after(files, 0, kill):
            cache.store(MIRROR, GUEST)
            cache.store(Mirror.parse(MIRROR.wire()), Guest.parse(GUEST.wire()))

    def test_another_run_has_written_nothing_yet(self) -> None:
        files = SimFiles(random.Random(1), tmpfs=True)
        ObjectCache(RUN / "objects", files).store(MIRROR, GUEST)
        files.damage(RUN / "objects" / f"{MIRROR.drbd_name}.json", Damage.EMPTY)
        next_run = ObjectCache(RUN / "objects", files)
        next_run.store(MIRROR, GUEST)
        assert next_run.load() == [(MIRROR, GUEST)]

    @pytest.mark.parametrize("operation", [Operation.CREATE, Operation.WRITE, Operation.RENAME])
    def test_a_copy_that_cannot_be_written_is_tried_again(self, operation: Operation) -> None:
        files = SimFiles(random.Random(1), tmpfs=True)
        cache = ObjectCache(RUN / "objects", files)
        cache.store(MIRROR, None)
        files.fail(operation, errno.ENOSPC)
        cache.store(MIRROR, GUEST)
        assert cache.load() == [(MIRROR, None)]
        assert files.list_names(RUN / "objects") == [f"{MIRROR.drbd_name}.json"]
        files.mend()
        cache.store(MIRROR, GUEST)
        assert cache.load() == [(MIRROR, GUEST)]

    def test_back_to_the_copy_before_one_that_failed(self) -> None:
        files = SimFiles(random.Random(1), tmpfs=True)
        cache = ObjectCache(RUN / "objects", files)
        cache.store(MIRROR, None)
        cache.store(MIRROR, GUEST)
        cache.store(MIRROR, None)
        assert cache.load() == [(MIRROR, None)]

    def test_copies_that_cannot_be_listed_do_not_keep_it_from_starting(self) -> None:
        files = SimFiles(random.Random(1), tmpfs=True)
        cache = ObjectCache(RUN / "objects", files)
        files.fail(Operation.LIST)
        assert cache.load() == []


class TestPermit:
    @search
    @given(seeds, st.integers(0, ENOUGH))
    def test_a_killed_program_leaves_the_old_permit_or_the_new(
        self, seed: int, operations: int
    ) -> None:
        files = SimFiles(random.Random(seed), tmpfs=True)
        files.put(RUN / "there", b"")
        PermitFile(RUN, "boot", files).store(12.5, FAST)
        with after(files, operations, kill):
            try:
                PermitFile(RUN, "boot", files).store(13.5, DEFAULT)
            except Killed:
                files.program_ends()
        permit = PermitFile(RUN, "boot", files).load()
        assert permit is not None
        assert (permit.renewal_sent_at_s, permit.timing) in ((12.5, FAST), (13.5, DEFAULT))

    @pytest.mark.parametrize("operation", [Operation.CREATE, Operation.WRITE, Operation.RENAME])
    def test_one_that_cannot_be_written_gives_no_more_time(self, operation: Operation) -> None:
        files = SimFiles(random.Random(1), tmpfs=True)
        files.put(RUN / "there", b"")
        permits = PermitFile(RUN, "boot", files)
        permits.store(12.5, FAST)
        files.fail(operation, errno.ENOSPC)
        permits.store(13.5, FAST)
        permit = permits.load()
        assert permit is not None
        assert permit.renewal_sent_at_s == 12.5
        assert names_in(files, RUN) == ["heartbeat.json"]

    def test_one_that_cannot_be_written_leaves_none_with_another_timing(self) -> None:
        """The other hosts wait by the timing that was published last."""
        files = SimFiles(random.Random(1), tmpfs=True)
        files.put(RUN / "there", b"")
        permits = PermitFile(RUN, "boot", files)
        permits.store(12.5, DEFAULT)
        files.full = True
        permits.store(13.5, FAST)
        assert permits.load() is None


class TestLock:
    def test_a_program_that_ends_gives_it_up(self) -> None:
        files = SimFiles(random.Random(1), tmpfs=True)
        HostLock(RUN / "lock", files, process_id=1).acquire()
        with pytest.raises(LockHeld):
            HostLock(RUN / "lock", files, process_id=2).acquire()
        files.program_ends()
        HostLock(RUN / "lock", files, process_id=2).acquire()

    def test_a_full_disk_is_no_reason_not_to_run(self) -> None:
        files = SimFiles(random.Random(1), tmpfs=True)
        HostLock(RUN / "lock", files, process_id=1).acquire()
        files.program_ends()
        files.full = True
        HostLock(RUN / "lock", files, process_id=2).acquire()
        with pytest.raises(LockHeld):
            HostLock(RUN / "lock", files, process_id=3).acquire()
