"""What the actuator keeps in files, on the machine's own file system and on the simulated one."""

import json
import uuid

import pytest

from tandem_actuator.adapters.files.lockfile import HostLock, LockHeld
from tandem_actuator.adapters.files.looks import LooksFile
from tandem_actuator.adapters.files.object_cache import ObjectCache
from tandem_actuator.adapters.files.permit import PermitFile
from tandem_actuator.adapters.files.records import FileRecords
from tandem_actuator.adapters.linux.identity import new_instance
from tandem_actuator.core.model import Record
from tandem_actuator.core.packets import Mark, Packets
from tandem_actuator.ports import PortError
from tandem_api.kinds.guest import Guest
from tandem_api.kinds.mirror import Marker, Mirror
from tandem_api.reasons import Reason
from tandem_api.timing import DEFAULT, FAST
from tandem_hostile import guest, mirror

from .file_systems import Place

RECORD = Record(
    uid="u1",
    incarnation="i1",
    max_epoch=7,
    owned_epoch=5,
    marker=Marker(reason=Reason.LOCAL_DISK_FAILED, since="2026-01-01T00:00:00Z"),
    attached=True,
    started_boot_id="b1",
    generations={"root": "76F6905ED73F6EAC"},
    unparted_boot_id="b2",
    owes_copy=True,
    copied_for="2026-01-01T00:00:01Z",
)
MIRROR, GUEST = Mirror.parse(mirror("g")), Guest.parse(guest("g"))


class TestRecords:
    @pytest.fixture
    def records(self, place: Place) -> FileRecords:
        return FileRecords(place.root / "state" / "mirrors", place.files)

    def test_what_is_stored_is_loaded_also_by_the_next_run(
        self, place: Place, records: FileRecords
    ) -> None:
        records.store("ns.m1", RECORD)
        assert records.load("ns.m1") == RECORD
        assert FileRecords(records.directory, place.files).load("ns.m1") == RECORD
        assert records.names() == ["ns.m1"]

    def test_no_record_is_none(self, records: FileRecords) -> None:
        assert records.load("ns.m1") is None

    def test_a_new_record_replaces_the_old_one_and_leaves_nothing_else(
        self, place: Place, records: FileRecords
    ) -> None:
        records.store("ns.m1", RECORD)
        records.store("ns.m1", Record(uid="u2"))
        assert records.load("ns.m1") == Record(uid="u2")
        assert place.files.list_names(records.directory) == ["ns.m1.json"]

    def test_nobody_else_reads_them(self, place: Place, records: FileRecords) -> None:
        records.store("ns.m1", RECORD)
        assert place.mode_of(records.directory) == 0o700
        assert place.mode_of(records.directory / "ns.m1.json") == 0o600

    @pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": 1}', b"\xff\xfe"])
    def test_a_damaged_record_is_an_error_and_not_absent(
        self, place: Place, records: FileRecords, content: bytes
    ) -> None:
        place.put(records.directory / "ns.m1.json", content)
        with pytest.raises(PortError, match=r"ns\.m1\.json"):
            records.load("ns.m1")

    @pytest.mark.parametrize("change", [{"format": 2}, {"max_epoch": -1}])
    def test_a_record_of_another_version_is_an_error(
        self, place: Place, records: FileRecords, change: dict[str, object]
    ) -> None:
        records.store("ns.m1", RECORD)
        path = records.directory / "ns.m1.json"
        raw = {**json.loads(place.files.read(path)), **change}
        place.put(path, json.dumps(raw).encode())
        with pytest.raises(PortError):
            records.load("ns.m1")

    def test_what_cannot_be_read_is_an_error_and_not_absent(
        self, place: Place, records: FileRecords
    ) -> None:
        place.files.make_directory(records.directory / "ns.m1.json", 0o755)
        with pytest.raises(PortError, match="cannot read"):
            records.load("ns.m1")

    def test_what_cannot_be_written_leaves_the_old_record(
        self, place: Place, records: FileRecords
    ) -> None:
        records.store("ns.m1", RECORD)
        place.files.make_directory(records.directory / ".ns.m1.json.new", 0o755)
        with pytest.raises(PortError):
            records.store("ns.m1", Record(uid="u2"))
        assert records.load("ns.m1") == RECORD

    @pytest.mark.parametrize("name", ["", "../etc", "a/b", ".hidden"])
    def test_names_that_are_no_resources_are_refused(self, records: FileRecords, name: str) -> None:
        with pytest.raises(PortError):
            records.load(name)

    def test_forget(self, records: FileRecords) -> None:
        records.store("ns.m1", RECORD)
        assert records.forget("ns.m1")
        assert not records.forget("ns.m1")
        assert records.load("ns.m1") is None

    def test_a_file_in_the_directorys_place_is_an_error(self, place: Place) -> None:
        place.put(place.root / "file", b"")
        with pytest.raises(PortError, match="cannot make"):
            FileRecords(place.root / "file" / "mirrors", place.files)


class TestObjectCache:
    @pytest.fixture
    def cache(self, place: Place) -> ObjectCache:
        return ObjectCache(place.root / "objects", place.files)

    def test_the_next_run_knows_what_this_one_knew(self, place: Place, cache: ObjectCache) -> None:
        other = Mirror.parse(mirror("other"))
        cache.store(MIRROR, GUEST)
        cache.store(other, None)
        next_run = ObjectCache(place.root / "objects", place.files)
        assert next_run.load() == [(MIRROR, GUEST), (other, None)]
        assert place.mode_of(place.root / "objects") == 0o700

    def test_the_newest_copy_counts(self, place: Place, cache: ObjectCache) -> None:
        for copy in (GUEST, None, GUEST, None):
            cache.store(MIRROR, copy)
            assert cache.load() == [(MIRROR, copy)]
        assert place.files.list_names(place.root / "objects") == [f"{MIRROR.drbd_name}.json"]

    @pytest.mark.parametrize(
        "content", [b"", b"{", b"[]", b"3", b"{}", b'{"mirror": {}, "guest": null}', b"\xff\xfe"]
    )
    def test_what_cannot_be_read_does_not_hide_the_others(
        self, place: Place, cache: ObjectCache, content: bytes
    ) -> None:
        cache.store(MIRROR, GUEST)
        place.put(place.root / "objects" / "a.json", content)
        assert cache.load() == [(MIRROR, GUEST)]


class TestPermit:
    def test_the_next_run_of_this_boot_goes_on(self, place: Place) -> None:
        PermitFile(place.root, "boot-1", place.files).store(12.5, FAST)
        permit = PermitFile(place.root, "boot-1", place.files).load()
        assert permit is not None
        assert (permit.renewal_sent_at_s, permit.timing) == (12.5, FAST)
        assert place.files.list_names(place.root) == ["heartbeat.json"]

    def test_the_newest_counts(self, place: Place) -> None:
        permits = PermitFile(place.root, "boot-1", place.files)
        permits.store(12.5, FAST)
        permits.store(13.5, DEFAULT)
        permit = permits.load()
        assert permit is not None
        assert (permit.renewal_sent_at_s, permit.timing) == (13.5, DEFAULT)

    def test_another_boots_permit_is_none(self, place: Place) -> None:
        """Its clock began anew: the moment means nothing on this one."""
        PermitFile(place.root, "boot-1", place.files).store(12.5, FAST)
        assert PermitFile(place.root, "boot-2", place.files).load() is None

    @pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"boot_id": "boot-1"}', b"\xff\xfe"])
    def test_what_cannot_be_read_is_none(self, place: Place, content: bytes) -> None:
        place.put(place.root / "heartbeat.json", content)
        assert PermitFile(place.root, "boot-1", place.files).load() is None

    def test_a_first_run_has_none(self, place: Place) -> None:
        assert PermitFile(place.root, "boot-1", place.files).load() is None


LOOKS = {
    "sim.counter": Packets(marks=(Mark(12.25, {2**63 + 7: 4096, 9: 0}),), arrived_after_s=11.5),
    "sim.web": Packets(marks=(Mark(12.5, {}),)),
}


class TestLooks:
    def test_the_next_run_of_this_boot_goes_on(self, place: Place) -> None:
        LooksFile(place.root, "boot-1", place.files).store(LOOKS)
        assert LooksFile(place.root, "boot-1", place.files).load() == LOOKS
        assert place.files.list_names(place.root) == ["looks.json"]

    def test_of_several_looks_that_wait_the_last_is_left(self, place: Place) -> None:
        looks = LooksFile(place.root, "boot-1", place.files)
        looks.store({"sim.counter": Packets(marks=(Mark(1.0, {7: 1}), Mark(2.0, {7: 2})))})
        assert looks.load() == {"sim.counter": Packets(marks=(Mark(2.0, {7: 2}),))}

    def test_the_newest_count_and_none_else(self, place: Place) -> None:
        looks = LooksFile(place.root, "boot-1", place.files)
        looks.store(LOOKS)
        looks.store({})
        assert looks.load() == {}

    def test_another_boots_are_none(self, place: Place) -> None:
        """Its clock began anew, and its sockets' numbers."""
        LooksFile(place.root, "boot-1", place.files).store(LOOKS)
        assert LooksFile(place.root, "boot-2", place.files).load() == {}

    @pytest.mark.parametrize(
        "content", [b"", b"{", b"[]", b'{"boot_id": "boot-1", "looks": {"a": {}}}', b"\xff\xfe"]
    )
    def test_what_cannot_be_read_is_none(self, place: Place, content: bytes) -> None:
        place.put(place.root / "looks.json", content)
        assert LooksFile(place.root, "boot-1", place.files).load() == {}

    def test_a_first_run_has_none(self, place: Place) -> None:
        assert LooksFile(place.root, "boot-1", place.files).load() == {}


class TestLock:
    def test_it_is_held_once_and_names_its_holder(self, place: Place) -> None:
        path = place.root / "run" / "lock"
        with (
            HostLock(path, place.files, process_id=17),
            pytest.raises(LockHeld, match="process 17;"),
        ):
            HostLock(path, place.files).acquire()
        with HostLock(path, place.files):
            pass

    def test_a_lock_that_cannot_be_opened_is_not_one_that_is_held(self, place: Place) -> None:
        place.put(place.root / "run", b"")
        with pytest.raises(PortError, match="cannot open") as caught:
            HostLock(place.root / "run" / "lock", place.files).acquire()
        assert not isinstance(caught.value, LockHeld)


class TestInstance:
    BOOT_ID = "3c5b0ba5-9d1e-4f6f-8d51-3f4cf2a8a7d2"

    def test_every_run_is_another_instance_of_the_same_boot(self, place: Place) -> None:
        path = place.root / "boot_id"
        place.put(path, f"{self.BOOT_ID}\n".encode())
        one, two = (new_instance("host-a", path, place.files) for _ in range(2))
        assert one != two
        assert one.same_boot(str(two))
        assert one.boot_id == self.BOOT_ID

    def test_a_run_is_called_as_chance_will(self, place: Place) -> None:
        path, drawn = place.root / "boot_id", uuid.UUID(int=5)
        place.put(path, f"{self.BOOT_ID}\n".encode())
        assert new_instance("host-a", path, place.files, lambda: drawn).run_id == drawn.hex

    @pytest.mark.parametrize("content", [b"", b"not a boot id\n", b"\xff"])
    def test_no_boot_id_no_instance(self, place: Place, content: bytes) -> None:
        path = place.root / "boot_id"
        with pytest.raises(PortError, match="cannot read the boot id"):
            new_instance("host-a", path, place.files)
        place.put(path, content)
        with pytest.raises(PortError, match="cannot read the boot id"):
            new_instance("host-a", path, place.files)
