"""Modules of another DRBD that the lab is given: what is taken, and what is refused and how."""

from pathlib import Path

import pytest

from tandem_lab.drbd_modules import NAMES, given_modules
from tandem_lab.settings import MODULES_VARIABLE, LabError, Settings
from tandem_lab.setup.kernel import kernel_version

KERNEL = "6.1.176"


def module(path: Path, version: str = "9.2.19", kernel: str = KERNEL) -> None:
    """As modinfo reads one: what it says of itself stands between zero bytes."""
    said = [f"version={version}", "srcversion=CFBD", "depends=", f"vermagic={kernel} mod_unload "]
    path.write_bytes(b"\x7fELF\0" + b"".join(item.encode() + b"\0" for item in said) + b"\0code")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "modules"
    found.mkdir()
    for name in NAMES:
        module(found / name)
    return found


@pytest.fixture
def settings(tmp_path: Path, folder: Path) -> Settings:
    """A lab with a kernel of its own, that is given modules."""
    made = Settings(tmp_path / "cache", tmp_path / "state", "lab", folder)
    (made.kernel_dir / "usr/lib/uml/modules" / KERNEL).mkdir(parents=True)
    return made


def test_without_a_folder_there_are_none(tmp_path: Path) -> None:
    """Nothing is asked of a kernel that may not be there yet."""
    assert given_modules(Settings(tmp_path, tmp_path, "lab"), None) is None


def test_the_folder_is_an_environment_variable(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.setenv(MODULES_VARIABLE, str(folder))
    assert Settings.from_environment().drbd_modules == folder
    monkeypatch.setenv(MODULES_VARIABLE, "")
    assert Settings.from_environment().drbd_modules is None


def test_what_fits_is_taken_with_its_version(settings: Settings, folder: Path) -> None:
    found = given_modules(settings, settings.drbd_modules)
    assert found is not None
    assert (found.version, found.major) == ("9.2.19", 9)
    assert [path.name for path in found.files] == ["drbd.ko", "drbd_transport_tcp.ko"]


@pytest.mark.parametrize("name", NAMES)
def test_another_kernels_is_refused_by_file_and_both_kernels(
    settings: Settings, folder: Path, name: str
) -> None:
    module(folder / name, kernel="6.1.170")
    with pytest.raises(LabError) as refused:
        given_modules(settings, settings.drbd_modules)
    for word in (str(folder / name), "6.1.170", KERNEL, MODULES_VARIABLE):
        assert word in str(refused.value)


def test_one_that_is_missing_is_named(settings: Settings, folder: Path) -> None:
    (folder / "drbd_transport_tcp.ko").unlink()
    with pytest.raises(LabError, match=r"drbd_transport_tcp\.ko cannot be read \(No such file"):
        given_modules(settings, settings.drbd_modules)


def test_what_is_no_module_is_refused(settings: Settings, folder: Path) -> None:
    (folder / "drbd.ko").write_bytes(b"\xfd7zXZ\0")
    with pytest.raises(LabError, match=r"drbd\.ko is no module of a kernel, or compressed"):
        given_modules(settings, settings.drbd_modules)


def test_what_these_need_may_be_beside_them(settings: Settings, folder: Path) -> None:
    module(folder / "handshake.ko", version="")
    found = given_modules(settings, settings.drbd_modules)
    assert found is not None
    assert [path.name for path in found.files] == [*NAMES, "handshake.ko"]
    module(folder / "handshake.ko", kernel="6.1.170")
    with pytest.raises(LabError, match=r"handshake\.ko is built for Linux 6\.1\.170"):
        given_modules(settings, settings.drbd_modules)


def test_two_versions_are_refused(settings: Settings, folder: Path) -> None:
    module(folder / "drbd.ko", version="9.3.3")
    with pytest.raises(LabError, match=r"drbd\.ko is 9\.3\.3, drbd_transport_tcp\.ko is 9\.2\.19"):
        given_modules(settings, settings.drbd_modules)


def test_a_lab_without_a_kernel_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="tandem-lab setup"):
        kernel_version(Settings(tmp_path, tmp_path, "lab"))
