"""What the actuator refuses in a template, validation refuses before: a start must not find out."""

import pytest

from tandem_actuator.core.domain_xml import DomainSettings, DomainXmlError, render
from tandem_api.guest import Guest
from tandem_api.mirror import Mirror
from tandem_api.templates import template_problems

QEMU = 'xmlns:qemu="http://libvirt.org/schemas/domain/qemu/1.0"'
TEMPLATES = (
    "<domain/>",
    "<domain><devices><sound model='ich9'/></devices></domain>",
    f"<domain {QEMU}><qemu:capabilities><qemu:del capability='x'/></qemu:capabilities></domain>",
    f"<domain {QEMU}><qemu:commandline/></domain>",
    "<domain><devices><disk/></devices></domain>",
    "<domain><devices><interface/></devices></domain>",
    "<!DOCTYPE domain><domain/>",
    "<network/>",
    "<domain>",
    "domain",
    f"<domain>{'<a>' * 30}{'</a>' * 30}</domain>",
    f"<domain>{'<a>' * 9_000}{'</a>' * 9_000}</domain>",
)


@pytest.mark.parametrize("template", TEMPLATES)
def test_both_say_yes_or_both_say_no(template: str) -> None:
    assert (template_problems(template) == []) is renders(template)


def renders(template: str) -> bool:
    devices = {"root": "/dev/vg0/root"}
    mirror = Mirror.parse(
        {
            "metadata": {"name": "m", "namespace": "n"},
            "spec": {
                "volumes": [{"name": "root", "size": "1Gi"}],
                "replicas": [{"host": host, "devices": devices} for host in ("a", "b")],
            },
            "status": {"deviceNumbers": {"port": 7789, "minors": {"root": 0}}},
        }
    )
    domain = {"memory": "1Gi", "disks": [{"volume": "root"}], "template": template}
    guest = Guest.parse(
        {
            "metadata": {"name": "g", "namespace": "n", "uid": "u"},
            "spec": {"mirror": "m", "domain": domain},
        }
    )
    try:
        render(guest, mirror, DomainSettings(kvm=False, serial_dir="/tmp"))
    except DomainXmlError:
        return False
    return True
