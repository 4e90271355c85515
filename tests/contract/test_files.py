"""A file system, the machine's own and the simulated one; and how a file is replaced on it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tandem_actuator.adapters.files.files import (
    FileSystem,
    make_directories,
    replace_file,
    swap_file,
)

from .file_systems import Place

REPLACE = pytest.mark.parametrize("replace", [replace_file, swap_file])
Replace = Callable[[Path, bytes, int, FileSystem], None]


def test_what_was_written_is_read(place: Place) -> None:
    path = place.root / "file"
    with place.files.create(path, 0o640) as file:
        file.write(b"one ")
        file.write(b"two")
        file.sync()
    assert place.files.read(path) == b"one two"
    assert place.mode_of(path) == 0o640
    assert place.files.list_names(place.root) == ["file"]


def test_a_file_that_is_there_is_emptied_and_keeps_its_mode(place: Place) -> None:
    path = place.root / "file"
    with place.files.create(path, 0o600) as file:
        file.write(b"old and long")
    with place.files.create(path, 0o644) as file:
        file.write(b"new")
    assert place.files.read(path) == b"new"
    assert place.mode_of(path) == 0o600


def test_a_renamed_file_replaces_another(place: Place) -> None:
    old, new = place.root / "old", place.root / "new"
    place.put(old, b"1")
    place.put(new, b"2")
    place.files.rename(old, new)
    place.files.sync_directory(place.root)
    assert place.files.read(new) == b"1"
    assert place.files.list_names(place.root) == ["new"]


def test_an_open_file_is_the_file_and_not_its_name(place: Place) -> None:
    old, new = place.root / "old", place.root / "new"
    with place.files.create(old, 0o644) as file:
        place.files.rename(old, new)
        place.put(old, b"another")
        file.write(b"the first")
        file.sync()
    assert place.files.read(new) == b"the first"
    assert place.files.read(old) == b"another"


def test_what_is_not_there(place: Place) -> None:
    gone = place.root / "gone"
    for act in (
        lambda: place.files.read(gone),
        lambda: place.files.unlink(gone),
        lambda: place.files.rename(gone, place.root / "new"),
        lambda: place.files.list_names(gone),
        lambda: place.files.sync_directory(gone),
        lambda: place.files.create(gone / "file", 0o644),
        lambda: place.files.make_directory(gone / "directory", 0o755),
        lambda: place.files.lock(gone / "lock", 0o600),
    ):
        with pytest.raises(FileNotFoundError, match="gone"):
            act()
    assert not place.files.is_directory(gone)


def test_an_unlinked_file_is_gone(place: Place) -> None:
    path = place.root / "file"
    place.put(path, b"1")
    place.files.unlink(path)
    assert place.files.list_names(place.root) == []


def test_directories(place: Place) -> None:
    directory, file = place.root / "directory", place.root / "file"
    place.files.make_directory(directory, 0o700)
    place.put(file, b"")
    assert place.mode_of(directory) == 0o700
    assert place.files.is_directory(directory)
    assert not place.files.is_directory(file)
    assert not place.files.is_directory(file / "below")
    with pytest.raises(FileExistsError):
        place.files.make_directory(directory, 0o755)
    with pytest.raises(IsADirectoryError):
        place.files.create(directory, 0o644)
    with pytest.raises(IsADirectoryError):
        place.files.read(directory)
    with pytest.raises(NotADirectoryError):
        place.files.list_names(file)
    with pytest.raises(NotADirectoryError):
        place.files.create(file / "below", 0o644)


def test_a_locked_file_is_locked_until_it_is_closed(place: Place) -> None:
    path = place.root / "lock"
    with place.files.lock(path, 0o600):
        with pytest.raises(BlockingIOError):
            place.files.lock(path, 0o600)
        place.put(path, b"1\n")
    with place.files.lock(path, 0o600):
        assert place.files.read(path) == b"1\n"
    assert place.mode_of(path) == 0o600


@REPLACE
def test_a_file_is_replaced_whole(place: Place, replace: Replace) -> None:
    path = place.root / "file"
    replace(path, b"old", 0o600, place.files)
    replace(path, b"new", 0o600, place.files)
    assert place.files.read(path) == b"new"
    assert place.mode_of(path) == 0o600
    assert place.files.list_names(place.root) == ["file"]


@REPLACE
def test_a_draft_that_cannot_be_written_leaves_the_old_file(place: Place, replace: Replace) -> None:
    path = place.root / "file"
    replace(path, b"old", 0o644, place.files)
    # A directory in the draft's place stands for anything that keeps it from being written.
    place.files.make_directory(place.root / ".file.new", 0o755)
    with pytest.raises(IsADirectoryError):
        replace(path, b"new", 0o644, place.files)
    assert place.files.read(path) == b"old"


@REPLACE
def test_a_file_that_cannot_be_replaced_leaves_no_draft(place: Place, replace: Replace) -> None:
    path = place.root / "file"
    place.files.make_directory(path, 0o755)
    with pytest.raises(OSError, match="file"):
        replace(path, b"new", 0o644, place.files)
    assert place.files.list_names(place.root) == ["file"]


def test_directories_are_made_from_the_top(place: Place) -> None:
    path = place.root / "var" / "lib" / "mirrors"
    make_directories(path, 0o700, place.files)
    make_directories(path, 0o700, place.files)
    assert place.mode_of(path) == 0o700
    assert place.mode_of(path.parent) == 0o755
