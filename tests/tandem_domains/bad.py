"""Domains that are refused, each with the field and the words that say why."""

from collections.abc import Mapping

from tandem_domains import (
    DISKS,
    FIRMWARE,
    HOST,
    ISO,
    UNKNOWN,
    VOLUMES,
    Raw,
    T,
    card,
    devices,
    hardware,
    ide,
)

BAD: Mapping[str, tuple[Raw, tuple[str, ...]]] = {
    "an-image-in-the-template": (
        devices(
            f"<disk type='file' device='cdrom'><source file='{ISO}'/><target dev='sda'/></disk>"
        ),
        (
            f"{T}names a disk ({ISO}); disks come from spec.domain.disks and the mirror alone, and"
            " images of CDs from spec.domain.cdroms; remove it",
        ),
    ),
    "a-tpm": (
        devices("<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>"),
        (f"{T}has a TPM, whose state {HOST}, or run this guest elsewhere",),
    ),
    "cells-of-other-memory": (
        hardware("<cpu><numa><cell id='0' cpus='0-1' memory='32' unit='GiB'/></numa></cpu>"),
        (
            f"{T}has <cpu><numa> cells of 32 GiB in all, and spec.domain.memory is 64Mi (64 MiB):"
            " the guest would get what the cells say; make them equal",
        ),
    ),
    "cells-that-leave-a-processor-out": (
        hardware("<cpu><numa><cell id='0' cpus='0' memory='64' unit='MiB'/></numa></cpu>"),
        (
            f"{T}has <cpu><numa> cells that do not share out the processors 0 to 1 of"
            " spec.domain.cpus; name each in one cell",
        ),
    ),
    "a-cell-without-memory": (
        hardware("<cpu><numa><cell id='0' cpus='0-1'/></numa></cpu>"),
        (f"{T}has a <cpu><numa><cell> whose memory cannot be read; write memory and unit",),
    ),
    "a-topology-of-fewer": (
        hardware("<cpu><topology sockets='1' cores='4' threads='1'/></cpu>", cpus=6),
        (
            f"{T}has a <cpu><topology> of 1 sockets x 4 cores x 1 threads = 4 processors, and"
            " spec.domain.cpus is 6; make them equal",
        ),
    ),
    "usb-without-usb": (
        devices("<controller type='usb' model='none'/><input type='tablet' bus='usb'/>"),
        (
            f'{T}has a USB device and <controller type="usb" model="none"/>; remove the'
            " controller, and one is added",
        ),
    ),
    "five-ide-disks": (
        hardware(disks=ide(*VOLUMES)),
        (
            "spec.domain.disks: more than 4 drives are on the bus ide, which has no more; use"
            " virtio or sata",
        ),
    ),
    "four-ide-disks-and-an-image": (
        hardware(disks=ide("root", "data", "c", "d"), cdroms=[{"source": ISO, "bus": "ide"}]),
        (
            "spec.domain.disks: more than 4 drives are on the bus ide, which has no more; use"
            " virtio or sata",
        ),
    ),
    "an-ide-image-with-uefi": (
        hardware(firmware="UEFI", cdroms=[{"source": ISO, "bus": "ide"}]),
        ("spec.domain.cdroms[0].bus: ide needs firmware BIOS; use sata or virtio",),
    ),
    "ide-on-q35": (
        hardware("<os><type machine='pc-q35-7.2'>hvm</type></os>", disks=ide("root")),
        (
            f"{T}has the machine pc-q35-7.2, which has no ide, and a disk's bus is ide; use sata"
            " or virtio, or remove the machine",
        ),
    ),
    "variables-on-another-disk": (
        hardware(
            "<os><type arch='x86_64' machine='q35'>hvm</type>"
            "<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader>"
            "<nvram type='block'><source dev='/dev/drbd7'/></nvram></os>"
        ),
        (
            f"{T}has <os><loader>; {FIRMWARE} BIOS; remove it",
            f"{T}has <os><nvram>; {FIRMWARE} BIOS; remove it",
        ),
    ),
    "uefi-and-a-loader": (
        hardware(
            "<os firmware='efi'><loader type='pflash'>/usr/share/OVMF/OVMF_CODE.fd</loader></os>",
            firmware="UEFI",
        ),
        (f"{T}has <os><loader>; {FIRMWARE} UEFI; remove it",),
    ),
    "efi-by-the-template-alone": (
        hardware("<os firmware='efi'/>"),
        (f'{T}has <os firmware="efi">, and spec.domain.firmware is BIOS; remove the attribute',),
    ),
    "another-machine": (
        hardware("<os><type arch='aarch64'>hvm</type></os>"),
        (f'{T}has an <os><type> that is not hvm on x86_64; write <type arch="x86_64">hvm</type>',),
    ),
    "no-such-card": (
        hardware(networks=[card(model="virtoi")]),
        ("spec.domain.networks[0].model: virtoi is no card that QEMU has; did you mean virtio?",),
    ),
    "a-boot-number-for-disk-and-image": (
        hardware(disks=[{"volume": "root", "boot": 1}], cdroms=[{"source": ISO, "boot": 1}]),
        (
            "spec.domain.cdroms: a boot number is given twice; number disks, cdroms and networks"
            " 1, 2, …: 1 is",
        ),
    ),
    "a-boot-number-for-disk-and-card": (
        hardware(disks=[{"volume": "root", "boot": 1}], networks=[card(boot=1)]),
        (
            "spec.domain.networks: a boot number is given twice; number disks, cdroms and networks"
            " 1, 2, …: 1 is",
        ),
    ),
    "an-order-in-the-template": (
        devices(
            "<hostdev mode='subsystem' type='usb'><source><vendor id='0x1'/><product id='0x2'/>"
            "</source><boot order='1'/></hostdev>"
        ),
        (
            f"{T}has a boot order in <hostdev>; the order stands with the disks, cdroms and"
            " networks; remove it",
        ),
    ),
    "a-pci-device": (
        devices("<hostdev mode='subsystem' type='pci'/>"),
        (
            f"{T}hands a device of the host (pci) to the guest, which may be a disk or a card;"
            " remove it",
        ),
    ),
    "a-serial-line-that-is-a-disk": (
        devices("<serial type='dev'><source path='/dev/drbd7'/></serial>"),
        (f"{T}names /dev/drbd7 in <serial>, which may be a disk; {DISKS}",),
    ),
    "a-log-that-is-a-disk": (
        devices("<serial type='pty'><log file='/dev/shm/../drbd7'/></serial>"),
        (f"{T}names /dev/shm/../drbd7 in <serial>, which may be a disk; {DISKS}",),
    ),
    "a-serial-line-that-is-a-disk-by-a-detour": (
        devices("<serial type='dev'><source path='//dev/./drbd7'/></serial>"),
        (f"{T}names //dev/./drbd7 in <serial>, which may be a disk; {DISKS}",),
    ),
    "a-serial-line-that-is-a-disk-through-a-folder": (
        devices("<serial type='dev'><source path='/srv/../dev/drbd7'/></serial>"),
        (f"{T}names /srv/../dev/drbd7 in <serial>, which may be a disk; {DISKS}",),
    ),
    "random-numbers-that-are-a-disk": (
        devices(
            "<rng model='virtio'><backend model='random'> /proc/1/root/dev/sda </backend></rng>"
        ),
        (f"{T}names /proc/1/root/dev/sda in <rng>, which may be a disk; {DISKS}",),
    ),
    "a-folder-of-the-host": (
        devices("<filesystem type='mount'><source dir='/srv'/><target dir='srv'/></filesystem>"),
        (f"{T}names a folder of the host (/srv); {DISKS}",),
    ),
    "a-disk-as-a-folder": (
        devices("<filesystem type='block'><source dev='/dev/sda1'/><target dir='a'/></filesystem>"),
        (f"{T}names a folder of the host (/dev/sda1); {DISKS}",),
    ),
    "a-scsi-disk-of-the-host": (
        devices(
            "<hostdev mode='subsystem' type='scsi'><source><adapter name='scsi_host0'/>"
            "<address bus='0' target='0' unit='0'/></source></hostdev>"
        ),
        (f"{T}hands a host's disk to the guest; {DISKS}",),
    ),
    "a-scsi-adapter-of-the-host": (
        devices(
            "<hostdev mode='subsystem' type='scsi_host'>"
            "<source protocol='vhost' wwpn='naa.5001405df3e54061'/></hostdev>"
        ),
        (f"{T}hands a host's disk to the guest; {DISKS}",),
    ),
    "a-disk-for-a-container": (
        devices(
            "<hostdev mode='capabilities' type='storage'>"
            "<source><block>/dev/sda</block></source></hostdev>"
        ),
        (
            f"{T}hands a host's disk to the guest; {DISKS}",
            f"{T}names /dev/sda in <hostdev>, which may be a disk; {DISKS}",
        ),
    ),
    "a-disk-that-says-to-be-usb": (
        devices("<hostdev mode='capabilities' type='usb'><source><block/></source></hostdev>"),
        (f"{T}hands a host's disk to the guest; {DISKS}",),
    ),
    "a-device-of-no-type": (
        devices("<hostdev/>"),
        (
            f"{T}hands a device of the host (of no type) to the guest, which may be a disk or a"
            " card; remove it",
        ),
    ),
    "a-disk-in-the-template": (
        devices("<disk type='network' device='lun'><source protocol='iscsi'/></disk>"),
        (f"{T}names a disk (iscsi); {DISKS}",),
    ),
    "a-card-in-the-template": (
        devices("<interface type='direct'><source dev='eth0'/></interface>"),
        (f"{T}names a network card (eth0); cards come from spec.domain.networks alone; remove it",),
    ),
    "state-beside-the-disks": (
        devices("<nvram/><pstore backend='acpi-erst'/><lease/>"),
        (
            f"{T}has <nvram>, whose state {HOST}",
            f"{T}has <pstore>, whose state {HOST}",
            f"{T}has <lease>, whose file {HOST}",
        ),
    ),
    "arguments-of-qemu": (
        hardware("<qemu:commandline><qemu:arg value='-drive'/></qemu:commandline>"),
        (f"{T}has <qemu:commandline>, which could open any disk or card; remove it",),
    ),
    "memory-that-is-plugged-in": (
        devices("<memory model='dimm'/>"),
        (f"{T}has a device <memory>; memory comes from spec.domain.memory alone; remove it",),
    ),
    "a-program-that-is-not-qemu": (
        devices("<emulator>/root/mine</emulator>"),
        (f"{T}names a program (/root/mine) that is not QEMU; remove <emulator>",),
    ),
    "a-misspelt-device": (
        devices("<watchdgo model='i6300esb'/>"),
        (f"{T}has a device <watchdgo>, {UNKNOWN}",),
    ),
    "a-misspelt-element": (
        hardware("<device/>"),
        (f"{T}has <device>, {UNKNOWN}",),
    ),
    "devices-twice": (
        hardware("<devices/><devices><sound model='ich9'/></devices>"),
        (f"{T}has <devices> twice; make it one",),
    ),
    "properties-by-the-back-door": (
        hardware("<qemu:override/>"),
        (f"{T}has <qemu:override>, which could change any disk or card; remove it",),
    ),
    "a-mirrors-disk-as-an-image": (
        hardware(cdroms=[{"source": "/dev/drbd7"}]),
        (
            "spec.domain.cdroms[0].source: /dev/drbd7 is a disk of a mirror; name an image or a"
            " drive",
        ),
    ),
    "another-mirrors-disk-as-an-image": (
        hardware(cdroms=[{"source": "/dev/vg0/root"}]),
        (
            "spec.domain.cdroms[0].source: /dev/vg0/root is a disk of mirror ns/m; name an image or"
            " a drive",
        ),
    ),
}
