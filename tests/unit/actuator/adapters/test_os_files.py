"""That the machine is really asked to sync. Where it cannot, it says so, and so it was asked."""

import os
from pathlib import Path

import pytest

from tandem_actuator.adapters.files.files import OsFiles


def test_a_file_is_synced(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with OsFiles().create(path, 0o600) as pipe, pytest.raises(OSError, match="Invalid"):
            pipe.sync()
    finally:
        os.close(reader)


def test_a_directory_is_synced() -> None:
    with pytest.raises(OSError, match="Invalid"):
        OsFiles().sync_directory(Path("/proc"))


def test_all_of_it_is_written_also_by_a_kernel_that_takes_it_in_pieces(tmp_path: Path) -> None:
    content = os.urandom(300_000)
    read, written = os.pipe()
    os.set_blocking(written, True)
    pid = os.fork()
    if pid == 0:
        os.close(written)
        with os.fdopen(read, "rb") as pipe:
            os._exit(0 if pipe.read() == content else 1)
    os.close(read)
    with OsFiles().create(Path(f"/proc/self/fd/{written}"), 0o600) as file:
        os.close(written)
        file.write(content)
    assert os.waitpid(pid, 0)[1] == 0
