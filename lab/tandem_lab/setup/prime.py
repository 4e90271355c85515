"""Lets libvirt examine QEMU once, and keeps what it found.

libvirt asks a QEMU that it does not know some 400 questions, which takes 15 s in a site host.
It keeps the answers in /var/cache/libvirt; this boots a throw-away host, has it ask, and saves
that folder for all later boots.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from tandem_lab.network import Network
from tandem_lab.settings import Settings
from tandem_lab.site_host import SiteHost
from tandem_lab.topology import Topology

PROBE_TIMEOUT_S = 180.0
# All emulators for the first question, the default one's domain features for the second.
PROBE = """
virsh -q capabilities >/dev/null
virsh -q domcapabilities --virttype qemu >/dev/null
cp -r /var/cache/libvirt /site/primed
"""


def prime_libvirt(target: Path, settings: Settings) -> None:
    """Fill `target` with libvirt's cache; runs in a namespace and folder of its own."""
    topology = Topology.model_validate({"hosts": [{"name": "prime", "site": "prime"}]})
    with tempfile.TemporaryDirectory(prefix="tandem-prime-") as folder:
        own = replace(
            settings,
            state_dir=Path(folder),
            namespace=f"{settings.namespace}-prime",
            drbd_modules=None,
        )
        network = Network(own.namespace, topology)
        host = SiteHost(topology.hosts[0], topology, own)
        try:
            network.create()
            host.start()
            host.shell(PROBE, timeout_s=PROBE_TIMEOUT_S)
            shutil.copytree(host.share / "primed", target)
        finally:
            host.kill()
            network.remove()
