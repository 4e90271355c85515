"""A table of virtual hardware: what passes every check, and what is refused, with the words.

Each is ``spec.domain`` of a Guest. The unit tests hold that the checks say so, and the contract
tests that a real libvirtd takes each one that passes.
"""

from collections.abc import Mapping
from typing import Any

from tandem_api.kinds.guest import Guest
from tandem_api.kinds.mirror import Mirror

Raw = dict[str, Any]

HOSTS = ("burjassot-1", "tarongers-1")
VOLUMES = ("root", "data", "c", "d", "e")
MAC = "52:54:00:77:10:01"
QEMU = 'xmlns:qemu="http://libvirt.org/schemas/domain/qemu/1.0"'


def hardware(template: str = "", **fields: Any) -> Raw:
    """One disk and little else, but for what is given."""
    found: Raw = {"cpus": 2, "memory": "64Mi", "disks": [{"volume": "root"}], **fields}
    return {**found, "template": f"<domain {QEMU}>{template}</domain>"} if template else found


def devices(inner: str, **fields: Any) -> Raw:
    return hardware(f"<devices>{inner}</devices>", **fields)


def card(**more: Any) -> Raw:
    return {"bridge": "br-users", "mac": MAC, **more}


def ide(*volumes: str) -> list[Raw]:
    return [{"volume": volume, "bus": "ide"} for volume in volumes]


ISO = "/srv/iso/installer.iso"

GOOD: Mapping[str, Raw] = {
    "nothing-said": hardware(),
    "everything-said": hardware(
        disks=[{"volume": "root", "boot": 2}, {"volume": "data", "bus": "scsi"}],
        cdroms=[{"source": ISO, "boot": 1}],
        networks=[card(boot=3)],
    ),
    "an-installer-image": hardware(
        disks=[{"volume": "root", "boot": 1}], cdroms=[{"source": ISO, "boot": 2}]
    ),
    "images-on-every-bus": hardware(
        cdroms=[
            {"source": ISO, "bus": "ide"},
            {"source": "/srv/iso/drivers.iso", "bus": "sata"},
            {"source": "/srv/iso/more_1.0~rc+2.iso", "bus": "scsi"},
        ]
    ),
    "a-drive-of-the-host": hardware(cdroms=[{"source": "/dev/sr0", "boot": 1}]),
    "an-installer-on-the-network": hardware(
        disks=[{"volume": "root", "boot": 1}], networks=[card(boot=2)]
    ),
    "four-ide-disks": hardware(disks=ide("root", "data", "c", "d")),
    "three-ide-disks-and-an-image": hardware(
        disks=ide("root", "data", "c"), cdroms=[{"source": ISO, "bus": "ide"}]
    ),
    "sata-and-scsi-share-letters": hardware(
        disks=[{"volume": "root", "bus": "sata"}, {"volume": "data", "bus": "scsi"}],
        cdroms=[{"source": ISO}],
    ),
    "a-usb-tablet": devices('<input type="tablet" bus="usb"/><graphics type="vnc" port="-1"/>'),
    "a-tablet-without-a-bus": devices('<input type="tablet"/><graphics type="vnc"/>'),
    "a-usb-tablet-and-its-own-controller": devices(
        '<controller type="usb" model="ich9-ehci1"/><input type="tablet" bus="usb"/>'
    ),
    "a-usb-hub": devices('<hub type="usb"/>'),
    "a-virtio-tablet-without-usb": devices('<input type="tablet" bus="virtio"/>'),
    "random-numbers": devices(
        '<rng model="virtio"><backend model="random">/dev/urandom</backend></rng>'
    ),
    "sound-and-screen": devices(
        '<graphics type="vnc" autoport="yes" listen="127.0.0.1"/>'
        '<video><model type="vga"/></video><sound model="ich9"/>'
    ),
    "a-guest-agents-channel": devices(
        '<channel type="unix"><target type="virtio" name="org.qemu.guest_agent.0"/></channel>'
    ),
    "a-console-on-a-pty": devices('<serial type="pty"/><console type="pty"/>'),
    "a-serial-line-of-the-host": devices('<serial type="dev"><source path="/dev/ttyS1"/></serial>'),
    "its-own-watchdog": devices('<watchdog model="i6300esb" action="reset"/>'),
    "a-balloon-and-a-panic-device": devices('<memballoon model="virtio"/><panic model="isa"/>'),
    "what-dumpxml-says": hardware(
        "<name>other</name><uuid>00000000-0000-0000-0000-000000000001</uuid>"
        "<memory unit='GiB'>7</memory><currentMemory unit='GiB'>7</currentMemory>"
        "<vcpu placement='static'>7</vcpu><os><type arch='x86_64' machine='pc'>hvm</type>"
        "<boot dev='hd'/><bootmenu enable='yes'/></os><on_crash>restart</on_crash>"
        "<devices><emulator>/usr/bin/qemu-system-x86_64</emulator></devices>"
    ),
    "q35": hardware("<os><type arch='x86_64' machine='q35'>hvm</type></os>"),
    "a-topology-of-as-many": hardware(
        "<cpu mode='host-model'><topology sockets='1' cores='2' threads='2'/></cpu>", cpus=4
    ),
    "one-cell-of-all-memory": hardware(
        "<cpu mode='host-model'><numa>"
        "<cell id='0' cpus='0-3' memory='64' unit='MiB'/></numa></cpu>",
        cpus=4,
    ),
    "two-cells-of-all-memory": hardware(
        "<cpu mode='host-model'><numa><cell id='0' cpus='0,2' memory='32768' unit='KiB'/>"
        "<cell id='1' cpus='1,3' memory='32' unit='M'/></numa></cpu>",
        cpus=4,
    ),
    "clock-and-features": hardware(
        "<clock offset='localtime'><timer name='hpet' present='no'/></clock>"
        "<features><hyperv><relaxed state='on'/></hyperv></features>"
    ),
    "a-kernel-of-the-host": hardware(
        "<os><kernel>/site/linux/vmlinuz</kernel><initrd>/site/linux/initramfs</initrd>"
        "<cmdline>console=ttyS0</cmdline></os>"
    ),
    "qemu-capabilities": hardware(
        "<qemu:capabilities><qemu:del capability='cpu-unavailable-features'/></qemu:capabilities>"
    ),
    "title-and-metadata": hardware(
        "<title>Payroll</title><description>of the staff</description>"
        "<metadata><n:note xmlns:n='https://example.org/'>kept</n:note></metadata>"
    ),
    **{
        f"card-{model}": hardware(networks=[card(model=model)])
        for model in (
            "virtio-transitional",
            "virtio-non-transitional",
            "e1000",
            "rtl8139",
            "ne2k_pci",
        )
    },
    "card-e1000e-on-q35": hardware(
        "<os><type machine='q35'>hvm</type></os>", networks=[card(model="e1000e")]
    ),
}

NEEDS_FIRMWARE: Mapping[str, Raw] = {
    "uefi": hardware(firmware="UEFI"),
    "uefi-with-an-image": hardware(firmware="UEFI", cdroms=[{"source": ISO, "boot": 1}]),
    "uefi-and-its-features": hardware(
        "<os firmware='efi'><firmware><feature enabled='no' name='secure-boot'/></firmware></os>",
        firmware="UEFI",
    ),
}
"""As ``GOOD``, on a host that has firmware for UEFI."""

_T = "spec.domain.template: "
_DISKS = "disks come from spec.domain.disks and the mirror alone; remove it"
_FIRMWARE = "the firmware comes from spec.domain.firmware, which is"
_UNKNOWN = "which no template may have; correct or remove it"
_HOST = "lies on one host and would be lost with it; remove it"

BAD: Mapping[str, tuple[Raw, tuple[str, ...]]] = {
    "an-image-in-the-template": (
        devices(
            f"<disk type='file' device='cdrom'><source file='{ISO}'/><target dev='sda'/></disk>"
        ),
        (
            f"{_T}names a disk ({ISO}); disks come from spec.domain.disks and the mirror alone, and"
            " images of CDs from spec.domain.cdroms; remove it",
        ),
    ),
    "a-tpm": (
        devices("<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>"),
        (f"{_T}has a TPM, whose state {_HOST}, or run this guest elsewhere",),
    ),
    "cells-of-other-memory": (
        hardware("<cpu><numa><cell id='0' cpus='0-1' memory='32' unit='GiB'/></numa></cpu>"),
        (
            f"{_T}has <cpu><numa> cells of 32 GiB in all, and spec.domain.memory is 64Mi (64 MiB):"
            " the guest would get what the cells say; make them equal",
        ),
    ),
    "cells-that-leave-a-processor-out": (
        hardware("<cpu><numa><cell id='0' cpus='0' memory='64' unit='MiB'/></numa></cpu>"),
        (
            f"{_T}has <cpu><numa> cells that do not share out the processors 0 to 1 of"
            " spec.domain.cpus; name each in one cell",
        ),
    ),
    "a-cell-without-memory": (
        hardware("<cpu><numa><cell id='0' cpus='0-1'/></numa></cpu>"),
        (f"{_T}has a <cpu><numa><cell> whose memory cannot be read; write memory and unit",),
    ),
    "a-topology-of-fewer": (
        hardware("<cpu><topology sockets='1' cores='4' threads='1'/></cpu>", cpus=6),
        (
            f"{_T}has a <cpu><topology> of 1 sockets x 4 cores x 1 threads = 4 processors, and"
            " spec.domain.cpus is 6; make them equal",
        ),
    ),
    "usb-without-usb": (
        devices("<controller type='usb' model='none'/><input type='tablet' bus='usb'/>"),
        (
            f'{_T}has a USB device and <controller type="usb" model="none"/>; remove the'
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
            f"{_T}has the machine pc-q35-7.2, which has no ide, and a disk's bus is ide; use sata"
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
            f"{_T}has <os><loader>; {_FIRMWARE} BIOS; remove it",
            f"{_T}has <os><nvram>; {_FIRMWARE} BIOS; remove it",
        ),
    ),
    "uefi-and-a-loader": (
        hardware(
            "<os firmware='efi'><loader type='pflash'>/usr/share/OVMF/OVMF_CODE.fd</loader></os>",
            firmware="UEFI",
        ),
        (f"{_T}has <os><loader>; {_FIRMWARE} UEFI; remove it",),
    ),
    "efi-by-the-template-alone": (
        hardware("<os firmware='efi'/>"),
        (f'{_T}has <os firmware="efi">, and spec.domain.firmware is BIOS; remove the attribute',),
    ),
    "another-machine": (
        hardware("<os><type arch='aarch64'>hvm</type></os>"),
        (f'{_T}has an <os><type> that is not hvm on x86_64; write <type arch="x86_64">hvm</type>',),
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
            f"{_T}has a boot order in <hostdev>; the order stands with the disks, cdroms and"
            " networks; remove it",
        ),
    ),
    "a-pci-device": (
        devices("<hostdev mode='subsystem' type='pci'/>"),
        (
            f"{_T}hands a device of the host (pci) to the guest, which may be a disk or a card;"
            " remove it",
        ),
    ),
    "a-serial-line-that-is-a-disk": (
        devices("<serial type='dev'><source path='/dev/drbd7'/></serial>"),
        (f"{_T}names /dev/drbd7 in <serial>, which may be a disk; {_DISKS}",),
    ),
    "a-log-that-is-a-disk": (
        devices("<serial type='pty'><log file='/dev/shm/../drbd7'/></serial>"),
        (f"{_T}names /dev/shm/../drbd7 in <serial>, which may be a disk; {_DISKS}",),
    ),
    "a-serial-line-that-is-a-disk-by-a-detour": (
        devices("<serial type='dev'><source path='//dev/./drbd7'/></serial>"),
        (f"{_T}names //dev/./drbd7 in <serial>, which may be a disk; {_DISKS}",),
    ),
    "a-serial-line-that-is-a-disk-through-a-folder": (
        devices("<serial type='dev'><source path='/srv/../dev/drbd7'/></serial>"),
        (f"{_T}names /srv/../dev/drbd7 in <serial>, which may be a disk; {_DISKS}",),
    ),
    "random-numbers-that-are-a-disk": (
        devices(
            "<rng model='virtio'><backend model='random'> /proc/1/root/dev/sda </backend></rng>"
        ),
        (f"{_T}names /proc/1/root/dev/sda in <rng>, which may be a disk; {_DISKS}",),
    ),
    "a-folder-of-the-host": (
        devices("<filesystem type='mount'><source dir='/srv'/><target dir='srv'/></filesystem>"),
        (f"{_T}names a folder of the host (/srv); {_DISKS}",),
    ),
    "a-disk-as-a-folder": (
        devices("<filesystem type='block'><source dev='/dev/sda1'/><target dir='a'/></filesystem>"),
        (f"{_T}names a folder of the host (/dev/sda1); {_DISKS}",),
    ),
    "a-scsi-disk-of-the-host": (
        devices(
            "<hostdev mode='subsystem' type='scsi'><source><adapter name='scsi_host0'/>"
            "<address bus='0' target='0' unit='0'/></source></hostdev>"
        ),
        (f"{_T}hands a host's disk to the guest; {_DISKS}",),
    ),
    "a-scsi-adapter-of-the-host": (
        devices(
            "<hostdev mode='subsystem' type='scsi_host'>"
            "<source protocol='vhost' wwpn='naa.5001405df3e54061'/></hostdev>"
        ),
        (f"{_T}hands a host's disk to the guest; {_DISKS}",),
    ),
    "a-disk-for-a-container": (
        devices(
            "<hostdev mode='capabilities' type='storage'>"
            "<source><block>/dev/sda</block></source></hostdev>"
        ),
        (
            f"{_T}hands a host's disk to the guest; {_DISKS}",
            f"{_T}names /dev/sda in <hostdev>, which may be a disk; {_DISKS}",
        ),
    ),
    "a-disk-that-says-to-be-usb": (
        devices("<hostdev mode='capabilities' type='usb'><source><block/></source></hostdev>"),
        (f"{_T}hands a host's disk to the guest; {_DISKS}",),
    ),
    "a-device-of-no-type": (
        devices("<hostdev/>"),
        (
            f"{_T}hands a device of the host (of no type) to the guest, which may be a disk or a"
            " card; remove it",
        ),
    ),
    "a-disk-in-the-template": (
        devices("<disk type='network' device='lun'><source protocol='iscsi'/></disk>"),
        (f"{_T}names a disk (iscsi); {_DISKS}",),
    ),
    "a-card-in-the-template": (
        devices("<interface type='direct'><source dev='eth0'/></interface>"),
        (
            f"{_T}names a network card (eth0); cards come from spec.domain.networks alone; remove"
            " it",
        ),
    ),
    "state-beside-the-disks": (
        devices("<nvram/><pstore backend='acpi-erst'/><lease/>"),
        (
            f"{_T}has <nvram>, whose state {_HOST}",
            f"{_T}has <pstore>, whose state {_HOST}",
            f"{_T}has <lease>, whose file {_HOST}",
        ),
    ),
    "arguments-of-qemu": (
        hardware("<qemu:commandline><qemu:arg value='-drive'/></qemu:commandline>"),
        (f"{_T}has <qemu:commandline>, which could open any disk or card; remove it",),
    ),
    "memory-that-is-plugged-in": (
        devices("<memory model='dimm'/>"),
        (f"{_T}has a device <memory>; memory comes from spec.domain.memory alone; remove it",),
    ),
    "a-program-that-is-not-qemu": (
        devices("<emulator>/root/mine</emulator>"),
        (f"{_T}names a program (/root/mine) that is not QEMU; remove <emulator>",),
    ),
    "a-misspelt-device": (
        devices("<watchdgo model='i6300esb'/>"),
        (f"{_T}has a device <watchdgo>, {_UNKNOWN}",),
    ),
    "a-misspelt-element": (
        hardware("<device/>"),
        (f"{_T}has <device>, {_UNKNOWN}",),
    ),
    "devices-twice": (
        hardware("<devices/><devices><sound model='ich9'/></devices>"),
        (f"{_T}has <devices> twice; make it one",),
    ),
    "properties-by-the-back-door": (
        hardware("<qemu:override/>"),
        (f"{_T}has <qemu:override>, which could change any disk or card; remove it",),
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


def raw_guest(domain: Raw, name: str = "g") -> Raw:
    metadata = {"namespace": "ns", "name": name, "uid": f"uid-{name}"}
    return {"metadata": metadata, "spec": {"mirror": "m", "domain": domain}}


def guest(domain: Raw, name: str = "g") -> Guest:
    return Guest.parse(raw_guest(domain, name))


def mirror() -> Mirror:
    """A mirror with a device for every volume of the table."""
    paths = {volume: f"/dev/vg0/{volume}" for volume in VOLUMES}
    minors = {volume: minor for minor, volume in enumerate(VOLUMES)}
    return Mirror.parse(
        {
            "metadata": {"namespace": "ns", "name": "m"},
            "spec": {
                "volumes": [{"name": volume, "size": "1Gi"} for volume in VOLUMES],
                "replicas": [{"host": host, "devices": paths} for host in HOSTS],
            },
            "status": {"deviceNumbers": {"port": 7789, "minors": minors}},
        }
    )
