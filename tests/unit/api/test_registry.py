"""What the list of kinds must hold, and that programs which have an attribute for each know all."""

from pathlib import Path
from typing import Any

import pytest

from tandem_actuator.adapters.files.object_cache import ObjectCache
from tandem_actuator.adapters.files.records import FileRecords
from tandem_actuator.run.cluster import Cluster
from tandem_api.registry import BY_NAME, KINDS, Component, KindInfo, watched_by
from tandem_controller.decide.world.model import Snapshot
from tandem_kube import GUEST_MOVES, GUESTS, HOSTS, MIRRORS, OWN, SITES, TANDEMS


@pytest.mark.parametrize("info", KINDS, ids=lambda info: info.kind)
def test_what_a_status_is_divided_into_is_there(info: KindInfo[Any]) -> None:
    schema = info.type.model_json_schema()
    named = {*info.hosts_own, *info.shared} | ({info.hosts_entries} - {""})
    status = schema["$defs"][f"{info.kind}Status"]["properties"]
    assert named <= set(status)


@pytest.mark.parametrize("info", KINDS, ids=lambda info: info.kind)
def test_an_object_belongs_to_one_host_or_holds_entries_of_several(info: KindInfo[Any]) -> None:
    """``writers`` and ``policies`` know either, and would forget one of both."""
    assert not (info.hosts_entries and info.hosts_own)


def test_what_keeps_an_object_from_going_is_a_kind() -> None:
    assert {info.needed_by for info in KINDS} - {""} <= set(BY_NAME)


def test_names_are_there_once() -> None:
    names = [name for info in KINDS for name in (info.plural, info.short, info.kind.lower())]
    assert len(names) == len(set(names))


def test_the_client_has_a_name_for_each() -> None:
    each = (TANDEMS, SITES, HOSTS, MIRRORS, GUESTS, GUEST_MOVES)
    assert {kind.name: kind for kind in each} == OWN


def test_each_program_has_room_for_each_kind_that_it_watches(tmp_path: Path) -> None:
    known = Cluster(
        None,  # type: ignore[arg-type]  # nothing is asked
        FileRecords(tmp_path),
        ObjectCache(tmp_path),
        None,  # type: ignore[arg-type]
        lambda unit: None,
    )
    assert set(known._known) == {info.type for info in watched_by(Component.ACTUATOR)}
    plurals = {info.plural for info in watched_by(Component.CONTROLLER)}
    assert plurals <= set(Snapshot.__dataclass_fields__)
