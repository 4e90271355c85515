"""One Kubernetes control plane, as processes of this machine: etcd, API server, controllers.

It serves custom resources, RBAC, leases, watches and service accounts as a cluster does. It has no
nodes: pods are created and never run. It runs in a network namespace if given one (which must
exist, with its loopback up and the bind address on a link), else on an address of the machine.

etcd's data are on a tmpfs where there is one, for speed; they survive `stop(keep=True)` and every
crash of a program, not the machine's.

Called by the lab, and by the integration tests' `api_server` fixture.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tandem_lab.controlplane.commands import (
    SERVICE_ADDRESS,
    Additions,
    Files,
    Ports,
    apiserver_command,
    controller_manager_command,
    etcd_command,
)
from tandem_lab.controlplane.kubeconfig import (
    certificate_user,
    file_name,
    token_user,
    write_kubeconfig,
)
from tandem_lab.controlplane.pki import Authority, KeyPair, new_signing_key, write_private
from tandem_lab.controlplane.process import Process, daemon_environment, in_netns
from tandem_lab.controlplane.programs import Binaries, find_binaries

NETNS_API_PORT = 6443
NETNS_ETCD_PORT = 2379
NETNS_ETCD_PEER_PORT = 2380
READY_TIMEOUT_S = 60.0
READY_POLL_S = 0.1
PROBE_TIMEOUT_S = 3
KUBECTL_TIMEOUT_S = 60.0
TOKEN_DURATION = "8760h"
NO_ADDITIONS = Additions()
SHARED_MEMORY = Path("/dev/shm")
ADMINISTRATOR = "tandem-lab-admin"
"""Whom the API server knows by the administrator's certificate."""


class ControlPlaneError(RuntimeError):
    """The control plane is not ready in time, or kubectl failed."""


class ControlPlane:
    """etcd, kube-apiserver and kube-controller-manager with their state in `state_dir`.

    `port` 0 means 6443 in a namespace (which the control plane has to itself), else a free one.
    Every method works also in a later program run with the same arguments: what runs is found by
    its pid files.
    """

    def __init__(
        self,
        state_dir: Path,
        netns: str | None = None,
        bind_address: str = "127.0.0.1",
        port: int = 0,
        *,
        binaries: Binaries | None = None,
        die_with_parent: bool = False,
        apiserver_flags: Sequence[str] = (),
        additions: Additions = NO_ADDITIONS,
    ) -> None:
        self.state_dir = state_dir.absolute()
        self.netns = netns
        self.bind_address = bind_address
        self.state_dir.mkdir(parents=True, exist_ok=True)
        self.state_dir.chmod(0o700)
        self._port = port
        self._die_with_parent = die_with_parent
        self._apiserver_flags = tuple(apiserver_flags)
        self._binaries_given = binaries
        self._additions = additions
        self.pki_dir = self.state_dir / "pki"
        self._authority = Authority(self.pki_dir)
        self._etcd = Process("etcd", self.state_dir)
        self._apiserver = Process("kube-apiserver", self.state_dir)
        self._controllers = Process("kube-controller-manager", self.state_dir)

    # -- life cycle

    def start(self, *, keep: bool = False) -> None:
        """Start everything and wait until it serves; `keep` takes over the data of the last run.

        Programs that an earlier run left behind are stopped first. Raises ControlPlaneError or
        ProcessError, with the end of the log of the program that is to blame.
        """
        self.stop(keep=keep)
        self._write_port_file()
        self._prepare_files()
        self._files.etcd_data.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._launch(self._etcd, etcd_command(self.binaries, self._files, self._ports))
            self.start_apiserver()
            self.start_controllers()
        except BaseException:
            self.stop(keep=keep)
            raise

    def stop(self, *, keep: bool = False) -> None:
        """Stop everything; the data go too unless `keep`. Fine when nothing runs."""
        self._stop_programs()
        if not keep:
            shutil.rmtree(self._etcd_data, ignore_errors=True)

    def running(self) -> bool:
        """Whether all three programs are there (paused counts)."""
        programs = (self._etcd, self._apiserver, self._controllers)
        return all(program.alive() for program in programs)

    def pause(self) -> None:
        """Freeze the API server: connections stay open and nothing answers."""
        self._apiserver.pause()

    def resume(self) -> None:
        """End `pause`."""
        self._apiserver.resume()

    def kill_apiserver(self) -> None:
        """SIGKILL the API server: connections break, new ones are refused; etcd lives on."""
        self._apiserver.kill()

    def start_apiserver(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Start the API server (again) and wait until /readyz says ok."""
        command = apiserver_command(self.binaries, self._files, self._ports, self.bind_address)
        flags = [*self._apiserver_flags, *self._additions.apiserver]
        self._launch(self._apiserver, [*command, *flags])
        self.wait_ready(timeout_s)

    def start_controllers(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Start kube-controller-manager and wait until it has made the first service account."""
        command = controller_manager_command(self.binaries, self._files)
        self._launch(self._controllers, [*command, *self._additions.controller_manager])
        self._wait_until(self._default_account_exists, "controllers at work", timeout_s)

    def upgrade(self, binaries: Binaries) -> None:
        """Go on with other servers on the same etcd, as a third place of one node is upgraded."""
        for process in (self._controllers, self._apiserver):
            process.stop()
        self._binaries_given = binaries
        self.start_apiserver()
        self.start_controllers()

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait until the API server says that it is ready."""
        self._wait_until(self.ready, "/readyz of the API server", timeout_s)

    def ready(self) -> bool:
        """Whether the API server answers /readyz with ok, now."""
        return self._probe("get", "--raw=/readyz") == "ok"

    @property
    def processes(self) -> tuple[Process, ...]:
        """etcd, the API server and the controllers, to be looked at."""
        return (self._etcd, self._apiserver, self._controllers)

    # -- what clients need

    @property
    def binaries(self) -> Binaries:
        """The programs in use (found, or built, at first use)."""
        if self._binaries_given is None:
            self._binaries_given = find_binaries()
        return self._binaries_given

    @property
    def authority(self) -> Authority:
        """Signs what else belongs to this control plane."""
        return self._authority

    @property
    def server_url(self) -> str:
        """The API server's address, as in every kubeconfig. Port known once it was started."""
        return f"https://{self.bind_address}:{self._ports.api}"

    @property
    def ca_certificate(self) -> bytes:
        """The CA (PEM) that signed the API server's certificate."""
        return self._authority.certificate

    def admin_kubeconfig(self) -> Path:
        """For the cluster's administrator (group system:masters)."""
        return self.user_kubeconfig(ADMINISTRATOR, ["system:masters"])

    def user_kubeconfig(
        self, user: str, groups: Sequence[str] = (), path: Path | None = None
    ) -> Path:
        """For any user and groups, by client certificate; works before `start` in a namespace."""
        pair = self._authority.client(user, groups)
        return self._write_kubeconfig(path or self._kubeconfig_path(user), certificate_user(pair))

    def serviceaccount_kubeconfig(
        self, namespace: str, name: str, path: Path | None = None
    ) -> Path:
        """For an existing service account, by a token that lasts a year."""
        token = self.kubectl(
            "create", "token", name, f"--namespace={namespace}", f"--duration={TOKEN_DURATION}"
        )
        target = path or self._kubeconfig_path(f"{namespace}-{name}")
        return self._write_kubeconfig(target, token_user(token.strip()), namespace)

    def certificate_kubeconfig(self, path: Path, certificate: bytes, key: bytes) -> Path:
        """For whoever a certificate names that the cluster's own signer made."""
        return self._write_kubeconfig(path, certificate_user(KeyPair(certificate, key)))

    def token_kubeconfig(self, path: Path, token: str) -> Path:
        """For whoever a token was given to."""
        return self._write_kubeconfig(path, token_user(token))

    def kubectl(
        self, *arguments: str, stdin: str = "", timeout_s: float = KUBECTL_TIMEOUT_S
    ) -> str:
        """Run kubectl as administrator where the API server is; returns its standard output."""
        result = self._run_kubectl(arguments, stdin, timeout_s)
        if result.returncode != 0:
            said = (result.stderr or result.stdout)[-3000:]
            raise ControlPlaneError(f"kubectl {' '.join(arguments)}: {said}")
        return result.stdout

    # -- inside

    @property
    def _ports(self) -> Ports:
        if self.netns:
            return Ports(self._port or NETNS_API_PORT, NETNS_ETCD_PORT, NETNS_ETCD_PEER_PORT)
        try:
            api, etcd, peer = (int(word) for word in self._port_file.read_text().split())
        except FileNotFoundError:
            raise ControlPlaneError("this control plane was never started") from None
        return Ports(api, etcd, peer)

    @property
    def _port_file(self) -> Path:
        return self.state_dir / "ports"

    def _write_port_file(self) -> None:
        """Outside a namespace: choose free ports, the API's the same as last time if it can be."""
        if self.netns:
            return
        wanted = self._port or (self._ports.api if self._port_file.exists() else 0)
        free = _free_ports(self.bind_address, 3)
        api = wanted if self._port or _is_free(self.bind_address, wanted) else free[0]
        self._port_file.write_text(f"{api} {free[1]} {free[2]}\n")

    @property
    def _etcd_data(self) -> Path:
        if os.access(SHARED_MEMORY, os.W_OK):
            digest = hashlib.sha256(str(self.state_dir).encode()).hexdigest()[:16]
            return SHARED_MEMORY / f"tandem-etcd-{digest}"
        return self.state_dir / "etcd"

    @property
    def _files(self) -> Files:
        pki = self.pki_dir
        return Files(
            etcd_data=self._etcd_data,
            ca_certificate=self._authority.certificate_path,
            server_certificate=pki / "server.crt",
            server_key=pki / "server.key",
            signing_key=pki / "service-accounts.key",
            controller_kubeconfig=self._kubeconfig_path("kube-controller-manager"),
        )

    def _prepare_files(self) -> None:
        files = self._files
        known = (self.bind_address, "127.0.0.1", "localhost", SERVICE_ADDRESS)
        names = [*known, *self._additions.server_names]
        pair = self._authority.server([*dict.fromkeys(names), "kubernetes.default.svc"])
        pair.write(files.server_certificate, files.server_key)
        if not files.signing_key.exists():
            write_private(files.signing_key, new_signing_key())
        self.user_kubeconfig(
            "system:kube-controller-manager", ["system:masters"], files.controller_kubeconfig
        )
        self.admin_kubeconfig()

    def _kubeconfig_path(self, identity: str) -> Path:
        return self.state_dir / "kubeconfigs" / file_name(identity)

    def _write_kubeconfig(
        self, path: Path, user: dict[str, str], namespace: str = "default"
    ) -> Path:
        return write_kubeconfig(
            path,
            server=self.server_url,
            ca_certificate=self.ca_certificate,
            user=user,
            namespace=namespace,
        )

    def _launch(self, process: Process, command: Sequence[str]) -> None:
        process.start(command, netns=self.netns, die_with_parent=self._die_with_parent)

    def _stop_programs(self) -> None:
        # In this order nothing is left without the server it depends on.
        for process in (self._controllers, self._apiserver, self._etcd):
            process.stop()

    def _default_account_exists(self) -> bool:
        self._controllers.require_alive()
        command = ("get", "serviceaccount", "default", "--namespace=default", "--output=name")
        return bool(self._probe(*command))

    def _probe(self, *arguments: str) -> str:
        """kubectl's output, or an empty string if it failed or took too long."""
        limited = (*arguments, f"--request-timeout={PROBE_TIMEOUT_S}s")
        try:
            result = self._run_kubectl(limited, "", PROBE_TIMEOUT_S + 1.0)
        except subprocess.TimeoutExpired:
            return ""
        return result.stdout.strip() if result.returncode == 0 else ""

    def _run_kubectl(
        self, arguments: Sequence[str], stdin: str, timeout_s: float
    ) -> subprocess.CompletedProcess[str]:
        options = [
            f"--kubeconfig={self._kubeconfig_path(ADMINISTRATOR)}",
            # Ports are reused; a cache of what some earlier server knew would lie.
            f"--cache-dir={self.state_dir / 'kubectl-cache'}",
        ]
        return subprocess.run(
            in_netns(self.netns, [str(self.binaries.kubectl), *options, *arguments]),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env=daemon_environment(),
            check=False,
        )

    def _wait_until(self, reached: Callable[[], bool], what: str, timeout_s: float) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not reached():
            self._etcd.require_alive()
            self._apiserver.require_alive()
            if time.monotonic() > deadline_s:
                tails = "\n".join(
                    f"{process.name} ends:\n{process.log_tail()}"
                    for process in (self._etcd, self._apiserver, self._controllers)
                )
                raise ControlPlaneError(f"no {what} within {timeout_s:.0f} s\n{tails}")
            time.sleep(READY_POLL_S)


def _free_ports(address: str, count: int) -> list[int]:
    sockets = [socket.create_server((address, 0)) for _ in range(count)]
    ports = [int(server.getsockname()[1]) for server in sockets]
    for server in sockets:
        server.close()
    return ports


def _is_free(address: str, port: int) -> bool:
    if not port:
        return False
    try:
        socket.create_server((address, port)).close()
    except OSError:
        return False
    return True
