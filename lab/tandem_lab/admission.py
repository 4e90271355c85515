"""The admission webhook at the third place, as a process, and the API server set up to ask it.

What users deploy with `manifests/admission`: the same program, rights and webhook configuration.
Only where it is found differs, since the lab has neither pods nor services. Used by `deployment`
and by the integration tests.
"""

from __future__ import annotations

import base64
import socket
import subprocess
import sys
import time
from pathlib import Path

import yaml

from tandem_lab.controlplane import ControlPlane, ProcessError
from tandem_lab.controlplane.pki import Authority
from tandem_lab.controlplane.process import Process, in_netns
from tandem_lab.source import HERE, Checkout

RIGHTS, CONFIGURATION = "manifests/admission/rbac.yaml", "manifests/admission/webhook.yaml"
ADDRESS = "127.0.0.1"
PORT = 9443
READY_TIMEOUT_S = 30.0
POLL_S = 0.1
TAKEN_UP_S = 1.5
"""The API server asks by a new configuration within a second."""


class Admission:
    """Handle of the webhook. Cheap to make: what runs is found by its pid file."""

    def __init__(
        self, plane: ControlPlane, directory: Path, *, netns: str | None = None, port: int = PORT
    ) -> None:
        self._plane, self._directory, self._netns, self._port = plane, directory, netns, port
        self.process = Process("admission", directory)

    def start(self, *, die_with_parent: bool = False, checkout: Checkout = HERE) -> None:
        """Run it under its ServiceAccount, wait until it listens, and have it asked."""
        self._plane.kubectl("apply", "-f", str(checkout.directory / RIGHTS))
        certificate, key = self._directory / "admission.crt", self._directory / "admission.key"
        self._authority().server([ADDRESS]).write(certificate, key)
        account = self._plane.serviceaccount_kubeconfig("tandem-system", "tandem-admission")
        self.process.start(
            [
                *(sys.executable, "-m", "tandem_controller"),
                f"--kubeconfig={account}",
                f"--admission-address={ADDRESS}",
                f"--admission-port={self._port}",
                f"--admission-certificate={certificate}",
                f"--admission-key={key}",
                "admission",
            ],
            netns=self._netns,
            die_with_parent=die_with_parent,
            environment=checkout.environment,
        )
        self._wait_until_it_listens()
        self.configure(checkout)

    def configure(self, checkout: Checkout = HERE) -> None:
        """From now on the API server asks it."""
        wanted = yaml.safe_load((checkout.directory / CONFIGURATION).read_text())
        for hook in wanted["webhooks"]:
            path = hook["clientConfig"]["service"]["path"]
            hook["clientConfig"] = {
                "url": f"https://{ADDRESS}:{self._port}{path}",
                "caBundle": base64.b64encode(self._authority().certificate).decode(),
            }
        self._plane.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(wanted))
        time.sleep(TAKEN_UP_S)

    def unconfigure(self) -> None:
        """Nobody asks it any more."""
        configuration = str(HERE.directory / CONFIGURATION)
        self._plane.kubectl("delete", "-f", configuration, "--ignore-not-found")
        time.sleep(TAKEN_UP_S)

    def _authority(self) -> Authority:
        return Authority(self._directory / "admission-pki")

    def _wait_until_it_listens(self) -> None:
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline_s:
            self.process.require_alive()
            if self._listens():
                return
            time.sleep(POLL_S)
        raise ProcessError(f"the admission webhook does not listen:\n{self.process.log_tail()}")

    def _listens(self) -> bool:
        if self._netns is None:
            with socket.socket() as probe:
                return probe.connect_ex((ADDRESS, self._port)) == 0
        listening = in_netns(self._netns, ["ss", "-Hltn", f"sport = :{self._port}"])
        told = subprocess.run(listening, capture_output=True, text=True, timeout=10, check=True)
        return bool(told.stdout.strip())
