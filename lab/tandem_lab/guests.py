"""The lab's own guests: assembling them, putting them on a disk, and their libvirt definition.

The counter guest (lab/guests/counter) is 512 bytes of code that count on their disk. Its domain
XML is for starting it by hand; the node actuator writes its own.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from string import Template

from tandem_lab.settings import LAB_DIR, Settings
from tandem_lab.setup import stamps
from tandem_lab.shell import run
from tandem_lab.site_host import SiteHost

COUNTER_SOURCE = LAB_DIR / "guests/counter/counter.asm"
COUNTER_XML = LAB_DIR / "guests/counter/domain.xml"
MAGIC = b"TANDEMCT"
SECTOR_BYTES = 512


def guests_stamp() -> str:
    """Changes when the guests must be assembled again."""
    return stamps.digest(["guests 1", COUNTER_SOURCE])


def assemble_guests(directory: Path) -> None:
    """Assemble all guests into `directory`."""
    directory.mkdir(parents=True)
    run(["nasm", "-f", "bin", "-o", directory / "counter.bin", COUNTER_SOURCE])


def counter_sector(number: int) -> bytes:
    """The sector that the counter guest counts in, holding `number`."""
    head = MAGIC + struct.pack("<II", number, number ^ 0xFFFFFFFF)
    return head.ljust(SECTOR_BYTES - 4, b"\0") + struct.pack("<I", number)


def parse_counter_sector(sector: bytes) -> int:
    """The number in a counter sector; ValueError if it is not one, or is torn."""
    (number,) = struct.unpack_from("<I", sector, len(MAGIC))
    if sector != counter_sector(number):
        raise ValueError("not a whole counter sector")
    return int(number)


def counter_image(settings: Settings, number: int = 0) -> bytes:
    """The first sectors of a disk with the counter guest on it."""
    code = (settings.guests_dir / "counter.bin").read_bytes()
    return code + counter_sector(number)


def write_counter_guest(host: SiteHost, device: str, settings: Settings, number: int = 0) -> None:
    """Put the counter guest on a device of `host`, which must be writable there (Primary)."""
    host.run(
        ["dd", "status=none", f"of={device}", "conv=fsync,notrunc"],
        stdin=counter_image(settings, number),
    ).check()


def read_counter(host: SiteHost, device: str) -> int:
    """The number on a device of `host`, read past the page cache; ValueError if damaged."""
    script = f"dd if={device} iflag=direct bs=512 skip=1 count=1 status=none | od -An -v -tx1"
    return parse_counter_sector(bytes.fromhex("".join(host.shell(script).split())))


def counter_domain_xml(name: str, disks: Sequence[str]) -> str:
    """libvirt's definition of a counter guest that runs on `disks` (it counts on the first)."""
    entries = (
        f"<disk type='block' device='disk'><driver name='qemu' type='raw' cache='none'/>"
        f"<source dev='{disk}'/><target dev='vd{chr(ord('a') + index)}' bus='virtio'/></disk>"
        for index, disk in enumerate(disks)
    )
    return Template(COUNTER_XML.read_text()).substitute(name=name, disks="\n    ".join(entries))
