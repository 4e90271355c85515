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

T = "spec.domain.template: "
DISKS = "disks come from spec.domain.disks and the mirror alone; remove it"
FIRMWARE = "the firmware comes from spec.domain.firmware, which is"
UNKNOWN = "which no template may have; correct or remove it"
HOST = "lies on one host and would be lost with it; remove it"


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
