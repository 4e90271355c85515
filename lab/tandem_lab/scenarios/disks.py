"""What is done to the backing devices of a host's mirrors, inside it. Called by ``stage``."""

from __future__ import annotations

from tandem_lab.site_host import SiteHost

# DRBD's own fault injection: every kind of access to backing devices, each time. It takes a bit for
# each minor, where none set means all.
FAIL = (
    "cd /sys/module/drbd/parameters; echo {devices} >fault_devs; echo 127 >enable_faults;"
    " echo 100 >fault_rate"
)
MINORS_OF_VOLUME = (
    "drbdsetup events2 --now |"
    " sed -n 's/^exists device name:[^ ]* volume:{volume} minor:\\([0-9]*\\) .*/\\1/p'"
)
# Name and number of each volume that the kernel has, as drbdadm takes them.
VOLUMES = (
    "drbdsetup events2 --now |"
    " sed -n 's/^exists device name:\\([^ ]*\\) volume:\\({volume}\\) .*/\\1\\/\\2/p'"
)
# Requests wait in the device mapper from now on, without an answer and without an end.
HANG = (
    "for volume in $({volumes}); do"
    " dmsetup suspend --nolockfs --noflush $(drbdadm sh-ll-dev $volume); done"
)
UNHANG = "for name in $(dmsetup ls | cut -f1); do dmsetup resume $name; done"


def fail_disk(machine: SiteHost, number: str) -> None:
    devices = 0
    if number:
        minors = machine.shell(MINORS_OF_VOLUME.format(volume=int(number) - 1)).split()
        devices = sum(2 ** int(minor) for minor in minors)
    if devices or not number:
        machine.shell(FAIL.format(devices=devices))


def hang_disk(machine: SiteHost, number: str) -> None:
    machine.shell(HANG.format(volumes=_volumes(number)))


def unhang_disk(machine: SiteHost) -> None:
    machine.shell(UNHANG)


def _volumes(number: str) -> str:
    return VOLUMES.format(volume=int(number) - 1 if number else "[0-9]*")
