"""Bringing a replica up under scripted outcomes: what is marked, what is made, and what is not."""

from dataclasses import replace

import pytest

from tandem_actuator.core import effects as fx
from tandem_actuator.core.drbd import DrbdUnknown, Generation, Metadata, NotConfigured, VolumeState
from tandem_actuator.core.mirror import bringing_up
from tandem_api.authority import Authority, Eligibility
from tandem_api.kinds.mirror import Marker
from tandem_api.reasons import Reason
from tandem_api.vocabulary import Connection, DiskState, Role
from unit.builders import (
    A,
    B,
    authority,
    drbd,
    mirror,
    record,
    view,
)

from .outside import Outside, play

AHEAD = Generation("00000000000000AA", parted=True)
IN_STEP = Generation("00000000000000BA", parted=False)
NEW = Eligibility(eligible=False, reason=Reason.NOT_INITIALISED)
FAILED = fx.Failed("no")


class TestBringUp:
    def run(self, outside: Outside, **changes: object) -> fx.Finished:
        known = replace(
            view(authority(""), NotConfigured(1.0)),
            **changes,  # type: ignore[arg-type]
        )
        return play(bringing_up.bring_up(known, "now"), outside)

    def test_a_current_replica(self) -> None:
        outside = Outside(mirror(authority("")), drbd(Role.SECONDARY, Connection.STANDALONE))
        self.run(outside)
        assert outside.names == [
            "Configure",
            "InspectMetadata",
            "Attach",
            "QueryDrbd",
            "UpdateRecord",
            "Connect",
        ]
        noted = fx.UpdateRecord(attached=True, unparted_boot_id="")
        assert outside.effects(fx.UpdateRecord) == [noted]

    @pytest.mark.parametrize(
        "disk",
        [DiskState.CONSISTENT, DiskState.OUTDATED, DiskState.INCONSISTENT, DiskState.DISKLESS],
    )
    def test_any_other_is_marked_before_it_connects(self, disk: DiskState) -> None:
        outside = Outside(
            mirror(authority("")), drbd(Role.SECONDARY, Connection.STANDALONE, disk=disk)
        )
        self.run(outside)
        (update,) = outside.effects(fx.UpdateRecord)
        assert isinstance(update, fx.UpdateRecord)
        assert isinstance(update.marker, Marker)
        assert outside.names.index("UpdateRecord") < outside.names.index("Connect")

    def judged(self, disk: DiskState, found: Generation, **noted: object) -> fx.UpdateRecord:
        """What is noted of a replica that was attached as this."""
        outside = Outside(
            mirror(authority("")),
            drbd(Role.SECONDARY, Connection.STANDALONE, disk=disk),
            generations={"root": found},
        )
        self.run(outside, record=record(**noted))
        assert outside.names.index("ReadGenerations") < outside.names.index("Connect")
        (update,) = outside.effects(fx.UpdateRecord)
        assert isinstance(update, fx.UpdateRecord)
        return update

    @pytest.mark.parametrize(
        ("disk", "found", "attached", "marked"),
        [
            (DiskState.CONSISTENT, AHEAD, True, False),
            (DiskState.CONSISTENT, AHEAD, False, True),
            (DiskState.CONSISTENT, IN_STEP, True, True),
            (DiskState.OUTDATED, AHEAD, True, True),
            (DiskState.INCONSISTENT, AHEAD, True, True),
            (DiskState.DISKLESS, AHEAD, True, True),
        ],
    )
    def test_what_the_peer_lacks_is_not_older_than_the_peers(
        self, disk: DiskState, found: Generation, attached: bool, marked: bool
    ) -> None:
        update = self.judged(disk, found, attached=attached)
        assert isinstance(update.marker, Marker) is marked

    @pytest.mark.parametrize(
        "disk", [DiskState.CONSISTENT, DiskState.OUTDATED, DiskState.INCONSISTENT]
    )
    @pytest.mark.parametrize("found", [AHEAD, IN_STEP])
    def test_a_marker_that_is_there_is_kept(self, disk: DiskState, found: Generation) -> None:
        known = Marker(reason=Reason.LOCAL_DISK_FAILED)
        assert self.judged(disk, found, marker=known).marker is fx.KEEP

    def test_every_volume_must_be_ahead_or_current(self) -> None:
        volumes = {
            name: VolumeState(disk, DiskState.UNKNOWN)
            for name, disk in (("root", DiskState.CONSISTENT), ("data", DiskState.UP_TO_DATE))
        }
        state = replace(drbd(Role.SECONDARY, Connection.STANDALONE), volumes=volumes)
        assert bringing_up.is_ahead(state, {"root": AHEAD, "data": IN_STEP})
        assert not bringing_up.is_ahead(state, {"root": IN_STEP, "data": AHEAD})
        assert not bringing_up.is_ahead(state, {"data": AHEAD})
        assert not bringing_up.is_ahead(replace(state, volumes={}), {"root": AHEAD})

    @pytest.mark.parametrize(
        ("found", "noted", "boot_id"),
        [
            (IN_STEP, {"root": IN_STEP.current}, "boot1"),
            (AHEAD, {"root": AHEAD.current}, ""),
            (IN_STEP, {"root": AHEAD.current}, ""),
            (IN_STEP, {}, ""),
            (IN_STEP, {"root": IN_STEP.current, "data": IN_STEP.current}, ""),
        ],
    )
    def test_whether_it_wrote_alone(
        self, found: Generation, noted: dict[str, str], boot_id: str
    ) -> None:
        update = self.judged(
            DiskState.CONSISTENT, found, generations=noted, unparted_boot_id="boot0"
        )
        assert update.unparted_boot_id == boot_id

    def test_generations_that_cannot_be_read_say_nothing(self) -> None:
        outside = Outside(
            mirror(authority("")),
            drbd(Role.SECONDARY, Connection.STANDALONE, disk=DiskState.CONSISTENT),
            script={fx.ReadGenerations: [FAILED]},
        )
        self.run(outside, record=record(generations={"root": IN_STEP.current}))
        (update,) = outside.effects(fx.UpdateRecord)
        assert isinstance(update, fx.UpdateRecord)
        assert isinstance(update.marker, Marker)
        assert update.unparted_boot_id == ""

    def test_a_marker_that_cannot_be_stored_keeps_it_unconnected(self) -> None:
        outside = Outside(
            mirror(authority("")),
            drbd(Role.SECONDARY, Connection.STANDALONE, disk=DiskState.CONSISTENT),
            script={fx.UpdateRecord: [FAILED]},
        )
        self.run(outside)
        assert not outside.effects(fx.Connect)

    def test_an_unknown_state_keeps_it_unconnected(self) -> None:
        outside = Outside(mirror(authority("")), DrbdUnknown("timeout"))
        assert self.run(outside).reason is Reason.UNKNOWN_STATE
        assert not outside.effects(fx.Connect)

    def test_metadata_is_made_on_new_disks_of_a_new_mirror(self) -> None:
        new = mirror(authority("", eligible={A: NEW, B: NEW}))
        outside = Outside(
            new, drbd(disk=DiskState.INCONSISTENT), metadata={"root": Metadata.ABSENT}
        )
        self.run(outside, record=record(attached=False))
        assert outside.names[:4] == [
            "Configure",
            "InspectMetadata",
            "ReadMirror",
            "CreateMetadata",
        ]

    @pytest.mark.parametrize(
        ("held_by", "attached"),
        [(authority(""), False), (authority("", eligible={A: NEW, B: NEW}), True), (None, False)],
    )
    def test_and_nowhere_else(self, held_by: Authority | None, attached: bool) -> None:
        outside = Outside(mirror(held_by), drbd(), metadata={"root": Metadata.ABSENT})
        finished = self.run(outside, record=record(attached=attached, max_epoch=0))
        assert finished.reason is Reason.METADATA_MISSING
        assert not outside.effects(fx.CreateMetadata)
        assert not outside.effects(fx.Attach)

    @pytest.mark.parametrize("held_by", [authority(""), authority("", eligible={A: NEW, B: NEW})])
    @pytest.mark.parametrize("attached", [True, False])
    def test_that_of_another_drbd_is_converted_by_a_person(
        self, held_by: Authority, attached: bool
    ) -> None:
        """It is no empty disk: to make new metadata there would throw away what it knows."""
        held = mirror(held_by, volumes=("root", "data"))
        found = {"root": Metadata.PRESENT, "data": Metadata.V08}
        outside = Outside(held, drbd(), metadata=found)
        finished = self.run(outside, mirror=held, record=record(attached=attached))
        assert finished.reason is Reason.METADATA_OF_OTHER_DRBD
        assert finished.message == (
            f"volume data (/dev/vg0/m-data) has the metadata of DRBD 8.4, which is not the DRBD"
            f" that {A} runs. To convert it, run on {A}: drbdmeta 1 v08 /dev/vg0/m-data internal"
            f" apply-al && drbdadm create-md --force --max-peers=1 {held.drbd_name}/1. Or boot {A}"
            " with DRBD 8.4 again"
        )
        assert not outside.effects(fx.CreateMetadata)
        assert not outside.effects(fx.Attach)

    def test_all_volumes_at_once(self) -> None:
        held = mirror(authority(""), volumes=("root", "data"))
        found = {"root": Metadata.V08, "data": Metadata.V08}
        finished = self.run(Outside(held, drbd(), metadata=found), mirror=held)
        assert "volume root (/dev/vg0/m-root) and data (/dev/vg0/m-data) has" in finished.message
        assert f"{held.drbd_name}/0 && drbdmeta 1 v08" in finished.message

    def test_and_back(self) -> None:
        outside = Outside(mirror(authority("")), drbd(), metadata={"root": Metadata.V09})
        finished = self.run(outside)
        assert "has the metadata of DRBD 9, which" in finished.message
        assert "drbdadm create-md --force ns.m/0. Or boot" in finished.message

    def test_the_volume_that_lacks_it_is_named_with_the_command_for_it_alone(self) -> None:
        held = mirror(authority(""), volumes=("root", "data"))
        found = {"root": Metadata.PRESENT, "data": Metadata.ABSENT}
        outside = Outside(held, drbd(), metadata=found)
        finished = self.run(outside, mirror=held)
        assert finished.reason is Reason.METADATA_MISSING
        assert finished.message == (
            f"volume data (/dev/vg0/m-data) has no DRBD metadata on {A} although the mirror has"
            " been in use: wrong or replaced disk? To give it a new, empty replica run on"
            f" {A}: drbdadm create-md {held.drbd_name}/1"
        )

    def test_it_is_made_where_a_crash_left_it_out(self) -> None:
        held = mirror(authority("", eligible={A: NEW, B: NEW}), volumes=("root", "data"))
        found = {"root": Metadata.PRESENT, "data": Metadata.ABSENT}
        outside = Outside(held, drbd(disk=DiskState.INCONSISTENT), metadata=found)
        self.run(outside, mirror=held, record=record(attached=False))
        assert outside.effects(fx.CreateMetadata) == [fx.CreateMetadata(("data",))]

    def test_unknown_metadata_stops_it(self) -> None:
        outside = Outside(mirror(authority("")), drbd(), metadata={"root": Metadata.UNKNOWN})
        assert self.run(outside).reason is Reason.UNKNOWN_STATE
        assert not outside.effects(fx.Attach)


def test_first_sync_asks_again() -> None:
    blank = drbd(disk=DiskState.INCONSISTENT, peer_disk=DiskState.INCONSISTENT)
    known = view(authority("", eligible={A: NEW, B: NEW}), blank)
    in_use = Outside(mirror(authority("")), blank)
    play(bringing_up.first_sync(known, ["root"]), in_use)
    assert not in_use.effects(fx.SkipFirstSync)
    new = Outside(known.mirror, blank)
    play(bringing_up.first_sync(known, ["root"]), new)
    assert new.effects(fx.SkipFirstSync) == [fx.SkipFirstSync(("root",))]
