"""The command lines of etcd, kube-apiserver and kube-controller-manager, as the lab runs them.

Pure: paths and numbers in, arguments out. etcd listens on the loopback only, without TLS: in the
lab that is the loopback of a namespace that holds nothing else.

Called by `ControlPlane`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tandem_lab.controlplane.programs import Binaries

SERVICE_NETWORK = "10.0.0.0/24"
SERVICE_ADDRESS = "10.0.0.1"
ISSUER = "https://kubernetes.default.svc"
CONTROLLERS = (
    "namespace",
    "garbagecollector",
    "serviceaccount",
    "serviceaccount-token",
    "root-ca-cert-publisher",
    "deployment",
    "replicaset",
    # It looks for mistakes in the types of the policies' rules.
    "validatingadmissionpolicy-status-controller",
)
# A mass failover writes as fast as it can; the controllers must keep up with a namespace's end.
_CLIENT_QPS = 200
_CLIENT_BURST = 400


@dataclass(frozen=True)
class Ports:
    """TCP ports of one control plane; etcd's two are on the loopback."""

    api: int
    etcd: int
    etcd_peer: int


@dataclass(frozen=True)
class Files:
    """Where the programs find what they need."""

    etcd_data: Path
    ca_certificate: Path
    server_certificate: Path
    server_key: Path
    signing_key: Path
    controller_kubeconfig: Path


@dataclass(frozen=True)
class Additions:
    """What a cluster with nodes needs beyond: further options, and names of the API server."""

    apiserver: tuple[str, ...] = ()
    controller_manager: tuple[str, ...] = ()
    server_names: tuple[str, ...] = ()


def etcd_command(binaries: Binaries, files: Files, ports: Ports) -> list[str]:
    """etcd, a cluster of one."""
    peer = f"http://127.0.0.1:{ports.etcd_peer}"
    return [
        str(binaries.etcd),
        "--name=lab",
        f"--data-dir={files.etcd_data}",
        f"--listen-client-urls={etcd_url(ports)}",
        f"--advertise-client-urls={etcd_url(ports)}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=lab={peer}",
        "--auto-compaction-mode=periodic",
        "--auto-compaction-retention=10m",
        # Alone there is nobody to wait for before an election.
        "--heartbeat-interval=50",
        "--election-timeout=500",
        "--log-level=warn",
        "--logger=zap",
        "--log-outputs=stderr",
    ]


def etcd_url(ports: Ports) -> str:
    """Where etcd serves clients."""
    return f"http://127.0.0.1:{ports.etcd}"


def apiserver_command(
    binaries: Binaries, files: Files, ports: Ports, bind_address: str
) -> list[str]:
    """kube-apiserver with RBAC and client certificates."""
    return [
        str(binaries.kube_apiserver),
        f"--etcd-servers={etcd_url(ports)}",
        f"--bind-address={bind_address}",
        f"--advertise-address={bind_address}",
        # There is no `kubernetes` Service to keep endpoints for, and a loopback may not be one.
        "--endpoint-reconciler-type=none",
        f"--secure-port={ports.api}",
        f"--client-ca-file={files.ca_certificate}",
        f"--tls-cert-file={files.server_certificate}",
        f"--tls-private-key-file={files.server_key}",
        f"--service-cluster-ip-range={SERVICE_NETWORK}",
        f"--service-account-issuer={ISSUER}",
        f"--service-account-key-file={files.signing_key}",
        f"--service-account-signing-key-file={files.signing_key}",
        "--authorization-mode=RBAC",
        "--anonymous-auth=false",
        "--profiling=false",
    ]


def controller_manager_command(binaries: Binaries, files: Files) -> list[str]:
    """kube-controller-manager with what custom resources and Deployments need, without ports."""
    return [
        str(binaries.kube_controller_manager),
        f"--kubeconfig={files.controller_kubeconfig}",
        f"--controllers={','.join(CONTROLLERS)}",
        f"--service-account-private-key-file={files.signing_key}",
        f"--root-ca-file={files.ca_certificate}",
        "--leader-elect=false",
        f"--kube-api-qps={_CLIENT_QPS}",
        f"--kube-api-burst={_CLIENT_BURST}",
        "--secure-port=0",
        "--profiling=false",
    ]
