"""A real Linux, with a real file system, survives its site: the example, as a user applies it.

It has a lab of its own beside the one that other tests share, since it needs disks of its own.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tandem_lab.deployment import Deployment
from tandem_lab.lab import Lab
from tandem_lab.linux_guest import in_order, make_linux_disks, module_depends
from tandem_lab.prepare import prepare
from tandem_lab.recorder import GuestLine
from tandem_lab.settings import SOURCE_DIR, LabError, Settings
from tandem_lab.takeover import (
    GuestName,
    running_and_protected,
    status_of,
    wait_for,
)

GUEST = GuestName("secretaria", "arxiu")
VOLUME = "arxiu-root"
VOLUME_SIZE = "64Mi"
SETTLE_TIMEOUT_S = 120.0
# Loose: it boots on an emulated processor. On a machine that was six times overbooked it took 95 s.
BOOT_TIMEOUT_S = 180.0
COUNT_FOR_S = 5.0
FRESH_S = 1.0
POLL_S = 0.25


def test_modules_are_loaded_after_what_they_depend_on() -> None:
    depends = {"blk": ("core", "ring"), "pci": ("ring",), "core": ("ring",), "ring": ()}
    assert in_order(["pci", "blk"], depends) == ["ring", "pci", "core", "blk"]


def test_an_unknown_module_is_an_error() -> None:
    with pytest.raises(KeyError):
        in_order(["blk"], {"blk": ("core",)})


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (b"\x7fELF\0license=GPL\0depends=virtio,virtio_ring\0name=x\0", ("virtio", "virtio_ring")),
        (b"\x7fELF\0license=GPL\0depends=\0name=x\0", ()),
        (b"\x7fELF\0license=GPL\0", ()),
    ],
)
def test_a_module_says_what_it_depends_on(module: bytes, expected: tuple[str, ...]) -> None:
    assert module_depends(module) == expected


@pytest.fixture(scope="module")
def deployment(request: pytest.FixtureRequest) -> Iterator[Deployment]:
    """Tandem in a lab of its own, with the example applied."""
    if os.geteuid() != 0:
        pytest.skip("the lab needs root")
    prepare(print)
    shared = Settings.from_environment()
    own = replace(
        shared, state_dir=shared.state_dir / "linux-guest", namespace=f"{shared.namespace}-linux"
    )
    deployment = Deployment(Lab(own))
    with deployment.lab.exclusive():
        try:
            deployment.up(fresh=True, progress=print)
            make_linux_disks(deployment.lab, VOLUME, VOLUME_SIZE)
            deployment.apply(SOURCE_DIR / "examples/linux.yaml")
            yield deployment
        finally:
            # After a failure the hosts' disks and logs stay, to be looked at.
            deployment.down(wipe=not request.session.testsfailed)


@pytest.fixture
def linux(deployment: Deployment) -> Deployment:
    """The guest running, redundant, and counting."""
    for host in deployment.lab.hosts:
        if not host.is_up:
            host.start()
    _want_running(deployment, True)
    status = wait_for(deployment, GUEST, running_and_protected, SETTLE_TIMEOUT_S)
    _wait_until_it_counts(deployment, str(status["host"]), time.monotonic())
    time.sleep(COUNT_FOR_S)
    return deployment


@pytest.mark.lab
@pytest.mark.timeout(600)
def test_a_linux_guest_survives_its_site(linux: Deployment) -> None:
    lab = linux.lab
    source = str(status_of(linux, GUEST)["host"])
    killed_s = time.monotonic()
    lab.host(source).kill()

    def elsewhere(status: dict[str, object]) -> bool:
        return status.get("phase") == "Running" and status.get("host") not in (source, "", None)

    target = str(wait_for(linux, GUEST, elsewhere, SETTLE_TIMEOUT_S)["host"])
    print(f"{time.monotonic() - killed_s:6.2f} s  {GUEST.name} is Running at {target}")
    _wait_until_it_counts(linux, target, killed_s)
    lines = _lines_after(linux, target, killed_s)
    for line in lines[:6]:
        print(f"{line.monotonic_s - killed_s:6.2f} s  {target}: {line.text}")
    last = lab.guest_log(GUEST.domain, source)[-1][1]
    print(f"last number at {source}: {last}")

    texts = [line.text for line in lines]
    assert not [text for text in texts if "BAD" in text]
    # It was writing when it died: a clean disk would be another disk.
    assert "/dev/vda: recovering journal" in texts
    assert "the file system is whole" in texts
    found = _boots(lines)[0]
    # One more than was printed, if it died between writing a number and printing it.
    assert found - last in (0, 1)
    assert _numbers(lines)[0] == found + 1


@pytest.mark.lab
@pytest.mark.timeout(600)
def test_a_linux_guest_that_is_told_to_stop_leaves_a_clean_disk(linux: Deployment) -> None:
    source = str(status_of(linux, GUEST)["host"])
    told_s = time.monotonic()
    _want_running(linux, False)
    wait_for(
        linux, GUEST, lambda status: status.get("phase") == "Stopped", timeout_s=SETTLE_TIMEOUT_S
    )
    time.sleep(FRESH_S)  # its last lines may not be stamped yet
    left = _lines_after(linux, source, told_s)
    assert "leaving" in [line.text for line in left]
    last = linux.lab.guest_log(GUEST.domain, source)[-1][1]

    started_s = time.monotonic()
    _want_running(linux, True)
    host = str(wait_for(linux, GUEST, running_and_protected, SETTLE_TIMEOUT_S)["host"])
    _wait_until_it_counts(linux, host, started_s)
    lines = _lines_after(linux, host, started_s)
    assert not [line.text for line in lines if "BAD" in line.text or "recovering" in line.text]
    assert _boots(lines)[0] - last in (0, 1)


def _want_running(deployment: Deployment, running: bool) -> None:
    patch = f'{{"spec": {{"running": {str(running).lower()}}}}}'
    deployment.kubectl(
        "patch", "guest", "-n", GUEST.namespace, GUEST.name, "--type=merge", "-p", patch
    )


def _lines_after(deployment: Deployment, host: str, after_s: float) -> list[GuestLine]:
    lines = deployment.lab.guest_lines(GUEST.domain, host)
    return [line for line in lines if line.monotonic_s > after_s]


def _boots(lines: list[GuestLine]) -> list[int]:
    """The numbers that boots found on the disk."""
    found = (re.search(r"boot (\d+)$", line.text) for line in lines)
    return [int(match[1]) for match in found if match]


def _numbers(lines: list[GuestLine]) -> list[int]:
    """What was counted."""
    return [int(line.text) for line in lines if re.fullmatch(r"\d+", line.text)]


def _wait_until_it_counts(deployment: Deployment, host: str, after_s: float) -> None:
    """Return once the guest printed a number there after that moment."""
    deadline_s = time.monotonic() + BOOT_TIMEOUT_S
    while not _numbers(_lines_after(deployment, host, after_s)):
        if time.monotonic() > deadline_s:
            raise LabError(f"{GUEST.name} counts nothing at {host} for {BOOT_TIMEOUT_S:g} s")
        time.sleep(POLL_S)
