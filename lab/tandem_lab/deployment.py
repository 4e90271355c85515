"""Tandem's own programs in the lab: the control plane at the third place, controllers, actuators.

What `tandem-lab up` adds to the bare hosts: a real API server in the lab's namespace, the CRDs and
manifests that users apply, the controller and the admission webhook as processes under exactly the
ServiceAccounts that the manifests give them, and a configuration with a certificate of its own for
each host's actuator.

The third place is the namespace itself: hosts reach it over the management link only.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

from tandem_lab.admission import Admission
from tandem_lab.controlplane import Binaries, ControlPlane, apply_path
from tandem_lab.controlplane.pki import Authority
from tandem_lab.controlplane.process import Process
from tandem_lab.fence_agent import NAME as FENCE_AGENT
from tandem_lab.fence_agent import install
from tandem_lab.guests import write_counter_guest
from tandem_lab.lab import Lab
from tandem_lab.settings import LabError
from tandem_lab.site_host import SiteHost
from tandem_lab.source import HERE, Checkout
from tandem_lab.topology import MANAGEMENT

NAMESPACE = "tandem-system"
SERVICE_ACCOUNT = "tandem-controller"
HOSTS_GROUP = "tandem:hosts"
METRICS_PORT = 8080
MIGRATION_PORT = 7799
MANIFESTS = ("manifests/base", "manifests/hosts", "manifests/policies", "manifests/flow-control")
ONE_HOST = "manifests/hosts/one-host.yaml"
CONTROLLER_SETTINGS = "controller/tandem_controller/settings.py"
WATCHDOG_DEVICE = "/dev/watchdog1"
API_WAIT_S = 60.0
POLL_S = 0.1

Progress = Callable[[str], None]


def _quiet(_message: str) -> None:
    """No progress wanted."""


class Deployment:
    """Handle of Tandem in a lab. Cheap to make: what runs is found by its pid files.

    ``migration``: its hosts can send each other guests as these run.
    ``checkout``: whose manifests are applied and whose programs are started, from the next time on.
    """

    def __init__(
        self,
        lab: Lab,
        *,
        replicas: int = 1,
        binaries: Binaries | None = None,
        migration: bool = False,
        checkout: Checkout = HERE,
    ) -> None:
        self.lab, self.checkout = lab, checkout
        self.replicas, self.migration = replicas, migration
        self.directory = lab.settings.state_dir / "third-place"
        self.directory.mkdir(parents=True, exist_ok=True)
        self.plane = ControlPlane(
            self.directory / "control-plane",
            netns=lab.settings.namespace,
            bind_address=MANAGEMENT.lab_address,
            binaries=binaries,
        )
        self.admission = Admission(self.plane, self.directory, netns=lab.settings.namespace)

    def up(self, *, fresh: bool = False, progress: Progress = _quiet) -> None:
        """Boot hosts and control plane side by side, then deploy Tandem and start it."""
        self.stop_programs()
        self.lab.up(fresh=fresh, wait=False, checkout=self.checkout)
        with ThreadPoolExecutor(max_workers=len(self.lab.hosts) + 1) as pool:
            plane = pool.submit(self._start_plane, fresh=fresh, progress=progress)
            hosts = [pool.submit(host.wait_ready) for host in self.lab.hosts]
            for done in hosts:
                done.result()
            versions = " and ".join(sorted({host.drbd_version() for host in self.lab.hosts}))
            progress(f"site hosts are up, with DRBD {versions}")
            plane.result()
        for host in self.lab.hosts:
            host.actuator("start")
        for index in range(self.replicas):
            self.controller(index).start()
        progress("controller and actuators are started")

    def down(self, *, wipe: bool = False) -> None:
        """End everything, Tandem's programs first."""
        self.stop_programs()
        self.plane.stop(keep=not wipe)
        self.lab.down(wipe=wipe)

    def stop_programs(self) -> None:
        """End controllers and webhook; what actuators run ends with their hosts."""
        for path in self.directory.glob("controller-*.pid"):
            Process(path.stem, self.directory).stop()
        self.admission.process.stop()

    def _start_plane(self, *, fresh: bool, progress: Progress) -> None:
        self.plane.start(keep=not fresh)
        progress("the API server serves")
        for path in MANIFESTS:
            apply_path(self.plane, self.checkout.directory / path)
        progress("CRDs and manifests are applied")
        self._wait_for_account()
        for host in self.lab.hosts:
            self.configure(host)
        self.admission.start(checkout=self.checkout)
        progress("the admission webhook is asked")

    def _wait_for_account(self) -> None:
        deadline = time.monotonic() + API_WAIT_S
        while time.monotonic() < deadline:
            found = self.plane.kubectl(
                "get", "serviceaccount", "-n", NAMESPACE, SERVICE_ACCOUNT, "--ignore-not-found"
            )
            if found.strip():
                return
            time.sleep(POLL_S)
        raise LabError(f"ServiceAccount {NAMESPACE}/{SERVICE_ACCOUNT} is not there")

    def configure(self, host: SiteHost, *, enabled: bool = True) -> None:
        """Give a host's actuator its identity and its configuration."""
        kubeconfig = self.plane.user_kubeconfig(f"tandem:host:{host.name}", [HOSTS_GROUP])
        rights = (self.checkout.directory / ONE_HOST).read_text().replace("HOST", host.name)
        self.kubectl("apply", "-f", "-", stdin=rights)
        target = host.share / "kubeconfig"
        target.touch(mode=0o600)
        target.write_text(kubeconfig.read_text())
        watchdog = WATCHDOG_DEVICE if host.spec.softdog_margin_s else None
        settings: dict[str, object] = {
            "host": host.name,
            "kubeconfig": "/site/kubeconfig",
            "serial_dir": "/site/serial",
            "watchdog_device": watchdog,
        }
        if self.migration:
            self._certify(host)
            settings |= {"migration_port": MIGRATION_PORT, "migration_tls": "/site/migration"}
        if self.lab.settings.drbd_modules is not None:
            settings["unproven_drbd"] = True  # whoever gives another DRBD wants to see it tried
        host.configure_actuator(yaml.safe_dump(settings), enabled=enabled)

    def _certify(self, host: SiteHost) -> None:
        """By which the hosts know each other as they send guests: a CA for nothing else."""
        ca = Authority(self.directory / "migration-ca")
        target = host.share / "migration"
        target.mkdir(mode=0o700, exist_ok=True)
        (target / "ca.crt").write_bytes(ca.certificate)
        ca.peer(host.name).write(target / "host.crt", target / "host.key")

    def give_fence_agents(self) -> None:
        """To every host's object: one that kills the host as its power would."""
        for host in self.lab.hosts:
            agent = {"agent": FENCE_AGENT, "parameters": {"plug": str(host.pid_file)}}
            patch = json.dumps({"spec": {"fenceAgent": agent}})
            self.kubectl("patch", "host", host.name, "--type=merge", "-p", patch)
            condition = "--for=condition=FenceAgentWorks"
            self.kubectl("wait", "host", host.name, condition, "--timeout=60s")

    def controller(self, index: int = 0) -> Controller:
        """One of the controller's replicas."""
        return Controller(self, index)

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """kubectl as the cluster's administrator."""
        return self.plane.kubectl(*arguments, stdin=stdin)

    def apply(self, path: Path) -> str:
        """kubectl apply -f."""
        return self.kubectl("apply", "-f", str(path))

    def make_counter_disks(self, volume: str, size: str) -> None:
        """The same volume with the counter guest on it, at every host: a disk like a template's.

        Both replicas begin equal, which is what lets Tandem skip the first sync.
        """
        for host in self.lab.hosts:
            host.create_volume(volume, size)
            write_counter_guest(host, f"/dev/vg0/{volume}", self.lab.settings)


class Controller:
    """One replica of the controller, as a process in the lab's namespace."""

    def __init__(self, deployment: Deployment, index: int) -> None:
        self._deployment = deployment
        self.name = f"controller-{index}"
        self.metrics_port = METRICS_PORT + index
        self.process = Process(self.name, deployment.directory)

    @property
    def metrics_target(self) -> str:
        """Where Prometheus in the namespace scrapes it."""
        return f"127.0.0.1:{self.metrics_port}"

    def start(self, *, same_account: bool = False) -> None:
        """Run it with the ServiceAccount's token, as its pod would.

        With `same_account` the token is the one of its last start: for an API that is away.
        """
        plane, checkout = self._deployment.plane, self._deployment.checkout
        kubeconfig = self._deployment.directory / "controller.kubeconfig"
        if not same_account:
            plane.serviceaccount_kubeconfig(NAMESPACE, SERVICE_ACCOUNT, kubeconfig)
        self.process.start(
            [
                sys.executable,
                "-m",
                "tandem_controller",
                f"--kubeconfig={kubeconfig}",
                f"--metrics-port={self.metrics_port}",
                *self._fence_agents(checkout),
                "run",
            ],
            netns=self._deployment.lab.settings.namespace,
            environment=checkout.environment,
        )

    def _fence_agents(self, checkout: Checkout) -> list[str]:
        if not checkout.names("fence_agents_dir", CONTROLLER_SETTINGS):
            return []  # a version from before there were any
        return [f"--fence-agents-dir={install(self._deployment.directory / 'agents')}"]

    def stop(self) -> None:
        self.process.stop()

    def kill(self) -> None:
        """SIGKILL, as a crash."""
        self.process.kill()

    def pause(self) -> None:
        self.process.pause()

    def resume(self) -> None:
        self.process.resume()
