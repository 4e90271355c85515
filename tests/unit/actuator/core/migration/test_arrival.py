"""What another host may send: the guest that is expected, on what this host's description names."""

import re

import pytest

from tandem_actuator.core.guest.domain_xml import QEMU_XMLNS, DomainSettings, render
from tandem_actuator.core.migration.arrival import refusal
from tandem_api.kinds.guest import Guest
from tandem_api.kinds.mirror import Mirror

SETTINGS = DomainSettings(kvm=True, serial_dir="/var/log/tandem/guests")
CARD = {"bridge": "br0", "mac": "52:54:00:00:00:01"}


def own(**domain: object) -> str:
    """As this host would start it."""
    spec = {
        "memory": "1Gi",
        "disks": [{"volume": "root"}],
        "cdroms": [{"source": "/srv/iso/debian.iso"}],
        "networks": [CARD],
        **domain,
    }
    guest = Guest.parse(
        {
            "metadata": {"namespace": "ns", "name": "g", "uid": "uid-g"},
            "spec": {"mirror": "m", "domain": spec},
        }
    )
    devices = {"root": "/dev/vg0/r"}
    mirror = Mirror.parse(
        {
            "metadata": {"namespace": "ns", "name": "m"},
            "spec": {
                "volumes": [{"name": "root", "size": "1Gi"}],
                "replicas": [{"host": host, "devices": devices} for host in ("a-1", "b-1")],
            },
            "status": {"deviceNumbers": {"port": 7801, "minors": {"root": 10}}},
        }
    )
    return render(guest, mirror, SETTINGS)


def with_device(device: str, text: str | None = None) -> str:
    return (text or own()).replace("</devices>", f"{device}</devices>")


def with_part(part: str) -> str:
    return own().replace("<devices>", f"{part}<devices>")


def swapped(before: str, after: str) -> str:
    assert before in own(), own()
    return own().replace(before, after)


@pytest.mark.parametrize(
    "domain",
    [
        {},
        {"cdroms": [], "networks": []},
        {"firmware": "UEFI"},
        {"template": "<domain><devices><rng model='virtio'/></devices></domain>"},
    ],
    ids=["whole", "least", "uefi", "rng"],
)
def test_a_guest_as_this_host_would_start_it_is_let_in(domain: dict[str, object]) -> None:
    assert refusal(own(**domain), own(**domain)) == ""


def test_what_libvirt_adds_to_it_is_let_in() -> None:
    text = own()
    text = with_device("<emulator>/usr/bin/qemu-system-x86_64</emulator>", text)
    text = with_device("<controller type='pci' index='0' model='pci-root'/>", text)
    text = with_device("<audio id='1' type='none'/>", text)
    text = text.replace("<domain ", "<domain id='3' ")
    text = text.replace("<vcpu>", "<resource><partition>/machine</partition></resource><vcpu>")
    text = re.sub(r'<source dev="/dev/drbd10" ?/>', '<source dev="/dev/drbd10" index="1"/>', text)
    assert text.count("index=") == 2
    assert refusal(text, own()) == ""


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ("<name>ns.g</name>", "<name>ns.other</name>", "its name is ns.other"),
        ("<name>ns.g</name>", "", "its name is None, and ns.g is expected"),
        ("<uuid>", "<uuid>0", "its uuid is 0"),
        ("/dev/drbd10", "/dev/drbd11", "/dev/drbd11"),
        ("/dev/drbd10", "/dev/vg0/r", "/dev/vg0/r"),
        ("/srv/iso/debian.iso", "/etc/shadow", "/etc/shadow"),
        ('bridge="br0"', 'bridge="br1"', "br1"),
        ('bridge="br0"', 'network="default"', "default"),
        ("/var/log/tandem/guests/ns.g.log", "/root/.profile", "/root/.profile"),
    ],
)
def test_what_differs_is_named(before: str, after: str, why: str) -> None:
    assert why in refusal(swapped(before, after), own())


@pytest.mark.parametrize(
    "device",
    [
        "<hostdev mode='subsystem' type='pci'/>",
        "<filesystem type='mount'/>",
        "<redirdev bus='usb' type='spicevmc'/>",
        "<tpm model='tpm-tis'/>",
        "<shmem name='s'/>",
        "<smartcard mode='host'/>",
        "<lease/>",
    ],
)
def test_a_device_that_may_reach_more_is_not_let_in_unasked(device: str) -> None:
    tag = re.findall(r"\w+", device)[0]
    assert refusal(with_device(device), own()).startswith(f"it has a {tag} that is")


@pytest.mark.parametrize(
    "device",
    [
        "<disk type='file'><source file='/etc/shadow'/></disk>",
        "<disk type='block'><source dev='/dev/sda'/></disk>",
        "<serial type='unix'><source mode='bind' path='/run/x'/></serial>",
        "<rng model='virtio'><backend model='random'>/dev/mem</backend></rng>",
        "<interface type='ethernet'><script path='/tmp/up'/></interface>",
        "<interface type='vhostuser'><source type='unix' path='/run/y'/></interface>",
        "<video><acceleration rendernode='/dev/dri/renderD128'/></video>",
        "<emulator>/tmp/qemu</emulator>",
    ],
)
def test_no_path_of_its_own_is_let_in(device: str) -> None:
    assert refusal(with_device(device), own()).startswith(("it has a ", "it names /"))


@pytest.mark.parametrize(
    "inside", ["<loader>/tmp/x</loader>", "<kernel>/tmp/x</kernel>", "<nvram>/tmp/x</nvram>"]
)
def test_nor_a_file_to_boot_from(inside: str) -> None:
    text = own().replace("</os>", f"{inside}</os>")
    assert refusal(text, own()).startswith("it names /tmp/x")


def test_nor_arguments_for_qemu() -> None:
    line = (
        f"<q:commandline xmlns:q='{QEMU_XMLNS}'>"
        "<q:arg value='-chardev'/><q:arg value='socket,host=0.0.0.0,id=x'/></q:commandline>"
    )
    assert refusal(with_part(line), own()) == "it has arguments for QEMU of its own"
    assert refusal(with_part(line), with_part(line)) == ""


@pytest.mark.parametrize("sent", ["", "<domain>", "no xml", "<domain/><domain/>"])
def test_what_cannot_be_read_is_not_let_in(sent: str) -> None:
    assert refusal(sent, own()).startswith("its description cannot be read: ")


@pytest.mark.parametrize(
    "sent",
    [
        "<!DOCTYPE domain [<!ENTITY a 'b'>]><domain>&a;</domain>",
        "<!DOCTYPE domain [<!ENTITY a SYSTEM 'file:///etc/shadow'>]><domain>&a;</domain>",
    ],
)
def test_entities_are_refused_in_words_too(sent: str) -> None:
    assert refusal(sent, own())


@pytest.mark.parametrize(
    "device",
    [
        "<disk type='file' device='disk'><source file='etc/shadow'/></disk>",
        "<disk type='block' device='disk'><source dev='dev/sda'/></disk>",
    ],
)
def test_a_path_without_its_slash_is_one_too(device: str) -> None:
    """libvirtd's directory, and its QEMU's, is the root."""
    assert refusal(with_device(device), own())


@pytest.mark.parametrize(
    "device",
    [
        "<disk type='volume' device='disk'><source pool='default' volume='others'/></disk>",
        "<disk type='nvme' device='disk'><source type='pci' namespace='1'>"
        "<address domain='0' bus='1' slot='0' function='0'/></source></disk>",
        "<disk type='network' device='disk'><source protocol='nbd' name='x'>"
        "<host name='198.51.100.9' port='10809'/></source></disk>",
        "<interface type='hostdev'><source>"
        "<address type='pci' domain='0' bus='1' slot='0' function='0'/></source></interface>",
        "<interface type='direct'><source dev='eth0' mode='passthrough'/></interface>",
        "<serial type='tcp'><source mode='bind' host='0.0.0.0' service='4444'/></serial>",
    ],
    ids=["pool", "nvme", "nbd", "pci-card", "macvtap", "listens"],
)
def test_nothing_of_this_host_is_reached_without_a_path_either(device: str) -> None:
    assert refusal(with_device(device), own())


@pytest.mark.parametrize(
    "part",
    [
        "<seclabel type='static' model='dac' relabel='yes'><label>+0:+0</label></seclabel>",
        "<seclabel type='none' model='apparmor'/>",
    ],
)
def test_nor_does_it_choose_as_whom_its_qemu_runs(part: str) -> None:
    assert refusal(with_part(part), own())
