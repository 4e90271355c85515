"""The domain XML: what fields decide, what a template may add, what is refused."""

import xml.etree.ElementTree as ET

import pytest

from tandem_actuator.core.guest.domain_xml import (
    METADATA_TAG,
    QEMU_XMLNS,
    DomainSettings,
    DomainXmlError,
    domain_name,
    domain_uuid,
    render,
)
from tandem_api.kinds.guest import Guest
from tandem_api.kinds.mirror import Mirror

UID = "9c3e0e8e-7f53-4f8f-a0a1-0d4c1c1d0001"
KVM = DomainSettings(kvm=True, serial_dir="/var/log/tandem/guests")
TCG = DomainSettings(kvm=False, serial_dir="/var/log/tandem/guests")
DISKS = [{"volume": "root", "boot": 1}, {"volume": "data"}]


def guest(**domain: object) -> Guest:
    return Guest.parse(
        {
            "metadata": {"namespace": "ns", "name": "g1", "uid": UID},
            "spec": {
                "mirror": "m1",
                "domain": {"memory": "2Gi", "cpus": 4, "disks": DISKS, **domain},
            },
        }
    )


def mirror() -> Mirror:
    devices = {"root": "/dev/vg0/r", "data": "/dev/vg0/d"}
    return Mirror.parse(
        {
            "metadata": {"namespace": "ns", "name": "m1"},
            "spec": {
                "volumes": [{"name": v, "size": "1Gi"} for v in devices],
                "replicas": [{"host": h, "devices": devices} for h in ("host-a", "host-b")],
            },
            "status": {"deviceNumbers": {"port": 7801, "minors": {"root": 10, "data": 11}}},
        }
    )


def domain(of: Guest, settings: DomainSettings = KVM) -> ET.Element:
    return ET.fromstring(render(of, mirror(), settings))


def text_of(element: ET.Element, path: str) -> str | None:
    found = element.find(path)
    assert found is not None, path
    return found.text


def test_the_fields_are_in_it() -> None:
    xml = domain(guest(networks=[{"bridge": "br0", "mac": "52:54:00:0B:A2:03"}]))
    assert xml.get("type") == "kvm"
    assert text_of(xml, "name") == "ns.g1" == domain_name(guest())
    assert text_of(xml, "uuid") == domain_uuid(guest())
    assert text_of(xml, "vcpu") == "4"
    assert text_of(xml, "memory") == str(2 * 2**30)
    assert [s.get("dev") for s in xml.iterfind("devices/disk/source")] == [
        "/dev/drbd10",
        "/dev/drbd11",
    ]
    assert [t.get("dev") for t in xml.iterfind("devices/disk/target")] == ["vda", "vdb"]
    assert [m.get("address") for m in xml.iterfind("devices/interface/mac")] == [
        "52:54:00:0b:a2:03"
    ]


def test_disks_bypass_the_hosts_cache() -> None:
    drivers = domain(guest()).findall("devices/disk/driver")
    assert [driver.get("cache") for driver in drivers] == ["none", "none"]


def test_a_guest_has_the_same_uuid_everywhere_and_no_other_guest_has_it() -> None:
    other = Guest.parse(
        {**guest().wire(), "metadata": {"namespace": "ns", "name": "g1", "uid": "other"}}
    )
    assert domain_uuid(guest()) == domain_uuid(guest(memory="4Gi"))
    assert domain_uuid(guest()) != domain_uuid(other)


def test_it_is_known_by_its_metadata() -> None:
    found = domain(guest()).find(f"metadata/{METADATA_TAG}")
    assert found is not None
    assert found.attrib == {"uid": UID, "namespace": "ns", "name": "g1"}


def test_what_comes_after_its_end_is_not_libvirts_to_decide() -> None:
    xml = domain(guest(template="<domain><on_crash>restart</on_crash></domain>"))
    assert [text_of(xml, f"on_{e}") for e in ("poweroff", "reboot", "crash")] == [
        "destroy",
        "restart",
        "destroy",
    ]


def test_the_same_guest_gives_the_same_text() -> None:
    assert render(guest(), mirror(), KVM) == render(guest(), mirror(), KVM)


def test_without_kvm_libvirt_does_not_ask_about_processor_features() -> None:
    path = f"{{{QEMU_XMLNS}}}capabilities/{{{QEMU_XMLNS}}}del"
    assert domain(guest(), TCG).find(path) is not None
    assert domain(guest(), TCG).get("type") == "qemu"
    assert domain(guest(), KVM).find(path) is None


def test_the_first_disk_boots_if_none_is_said_to() -> None:
    xml = domain(guest(disks=[{"volume": "data"}, {"volume": "root"}]))
    orders = [disk.find("boot") for disk in xml.iterfind("devices/disk")]
    assert orders[0] is not None and orders[0].get("order") == "1"
    assert orders[1] is None


def test_targets_are_counted_by_their_letters() -> None:
    xml = domain(
        guest(disks=[{"volume": "root", "bus": "sata"}, {"volume": "data", "bus": "scsi"}])
    )
    assert [t.get("dev") for t in xml.iterfind("devices/disk/target")] == ["sda", "sdb"]
    models = {c.get("type"): c.get("model") for c in xml.iterfind("devices/controller")}
    assert models["scsi"] == "virtio-scsi"


def test_an_image_is_read_only_and_let_go_of_where_it_is_missing() -> None:
    drives = [{"source": "/srv/iso/a.iso", "boot": 2}, {"source": "/dev/sr0", "bus": "scsi"}]
    xml = domain(guest(cdroms=drives))
    file, device = (each for each in xml.iterfind("devices/disk") if each.get("device") == "cdrom")
    assert file.find("readonly") is not None and device.find("readonly") is not None
    sources = [each.find("source") for each in (file, device)]
    assert [source.attrib for source in sources if source is not None] == [
        {"file": "/srv/iso/a.iso", "startupPolicy": "optional"},
        {"dev": "/dev/sr0", "startupPolicy": "optional"},
    ]
    assert [each.get("type") for each in (file, device)] == ["file", "block"]
    targets = [each.get("dev") for each in xml.iterfind("devices/disk/target")]
    assert targets == ["vda", "vdb", "sda", "sdb"]
    assert [c.get("type") for c in xml.iterfind("devices/controller")] == ["scsi", "usb"]


def test_a_blank_disk_can_be_installed_from_the_network() -> None:
    cards = [{"bridge": "br0", "mac": "52:54:00:77:42:00", "boot": 2}]
    xml = domain(guest(disks=[{"volume": "root", "boot": 1}], networks=cards))
    orders = [b.get("order") for b in xml.iterfind("devices/*/boot")]
    assert orders == ["1", "2"]
    assert xml.find("devices/interface/boot") is not None


def test_the_first_disk_does_not_boot_if_an_image_shall() -> None:
    xml = domain(guest(disks=[{"volume": "root"}], cdroms=[{"source": "/a.iso", "boot": 5}]))
    assert [b.get("order") for b in xml.iterfind("devices/disk/boot")] == ["5"]


@pytest.mark.parametrize(
    ("template", "models"),
    [
        ("<sound model='ich9'/>", ["none"]),
        ("<input type='tablet' bus='usb'/>", ["qemu-xhci"]),
        ("<input type='tablet'/>", ["qemu-xhci"]),
        ("<input type='mouse' bus='ps2'/>", ["none"]),
        ("<hub type='usb'/>", ["qemu-xhci"]),
        ("<redirdev bus='usb' type='spicevmc'/>", ["qemu-xhci"]),
        ("<controller type='usb' model='ehci'/><input type='tablet' bus='usb'/>", ["ehci"]),
    ],
)
def test_there_is_usb_for_what_needs_it(template: str, models: list[str]) -> None:
    xml = domain(guest(template=f"<domain><devices>{template}</devices></domain>"))
    assert [
        c.get("model") for c in xml.iterfind("devices/controller") if c.get("type") == "usb"
    ] == models


def test_firmware() -> None:
    system = domain(guest(firmware="UEFI")).find("os")
    assert system is not None
    assert system.get("firmware") == "efi"


def test_the_serial_console_is_logged_unless_the_template_has_one() -> None:
    source = domain(guest()).find("devices/serial/source")
    assert source is not None
    assert source.get("path") == "/var/log/tandem/guests/ns.g1.log"
    template = "<domain><devices><serial type='pty'/></devices></domain>"
    serials = domain(guest(template=template)).findall("devices/serial")
    assert [serial.get("type") for serial in serials] == ["pty"]


def test_a_template_adds_what_the_fields_cannot_say() -> None:
    template = """
      <domain type='xen'>
        <name>mine</name><uuid>00000000-0000-0000-0000-000000000000</uuid>
        <memory>1</memory><currentMemory>1</currentMemory><vcpu>99</vcpu>
        <cpu mode='host-passthrough'/>
        <os><type arch='x86_64' machine='q35'>hvm</type><boot dev='cdrom'/></os>
        <devices><video><model type='vga'/></video><memballoon model='virtio'/></devices>
        <metadata><note xmlns='https://example.org/'>kept</note></metadata>
      </domain>"""
    xml = domain(guest(template=template))
    assert xml.get("type") == "kvm"
    assert [e.text for e in xml.findall("name")] == ["ns.g1"]
    assert [e.text for e in xml.findall("vcpu")] == ["4"]
    assert len(xml.findall("memory")) == 1
    assert xml.find("currentMemory") is None
    assert xml.find("os/boot") is None
    machine, cpu = xml.find("os/type"), xml.find("cpu")
    assert machine is not None and machine.get("machine") == "q35"
    assert cpu is not None and cpu.get("mode") == "host-passthrough"
    assert xml.find("devices/video") is not None
    assert [b.get("model") for b in xml.findall("devices/memballoon")] == ["virtio"]
    assert xml.find("metadata/{https://example.org/}note") is not None
    assert xml.find(f"metadata/{METADATA_TAG}") is not None


def test_a_template_cannot_claim_to_be_another_guest() -> None:
    template = (
        "<domain><metadata><t:guest xmlns:t='https://tandem.dev/xmlns/domain/1' uid='x'/>"
        "</metadata></domain>"
    )
    found = domain(guest(template=template)).findall(f"metadata/{METADATA_TAG}")
    assert [element.get("uid") for element in found] == [UID]


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("<domain>", "no valid XML"),
        ("<network/>", "starts with <network>"),
        ("<domain><devices><disk/></devices></domain>", r"spec\.domain\.disks"),
        ("<domain><devices><interface/></devices></domain>", r"spec\.domain\.networks"),
        (f"<domain><q:commandline xmlns:q='{QEMU_XMLNS}'/></domain>", "commandline"),
        ("<!DOCTYPE d [<!ENTITY a 'b'>]><domain><title>&a;</title></domain>", "document type"),
    ],
)
def test_templates_that_are_refused(template: str, words: str) -> None:
    with pytest.raises(DomainXmlError, match=words) as caught:
        domain(guest(template=template))
    assert str(caught.value).startswith("spec.domain.template: ")


def test_a_disk_of_no_volume_is_refused() -> None:
    with pytest.raises(DomainXmlError, match="volume swap is no volume of mirror ns/m1"):
        domain(guest(disks=[{"volume": "swap"}]))


def test_an_edit_that_was_not_accepted_is_not_what_is_started() -> None:
    accepted, edited = guest(), guest(memory="7Gi", template="<domain><devices/>")
    status = edited.status.model_copy(update={"accepted": accepted.spec})
    found = render(edited.model_copy(update={"status": status}), mirror(), TCG)
    assert found == render(accepted, mirror(), TCG)
