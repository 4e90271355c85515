"""What containerd, kubelet and kube-proxy of a node are told. Pure: names in, texts out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tandem_lab.pods.topology import POD_NETWORK, NodeSpec

# The kernel settings that a kubelet wants, with its values: see `boot_script`.
KERNEL_SETTINGS = {
    "kernel/keys/root_maxbytes": "25000000",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
}


@dataclass(frozen=True)
class Folders:
    """Where a node keeps things until it ends; `store` is its containerd's."""

    state: Path
    store: Path

    @property
    def socket(self) -> Path:
        """Where its containerd listens."""
        return self.state / "containerd.sock"

    def kubeconfig(self, program: str) -> Path:
        return self.state / f"{program}.kubeconfig"

    def log(self, program: str) -> Path:
        return self.state / f"{program}.log"


def containerd_config(folders: Folders, pause: str, plugins: Path) -> str:
    """For containerd 1.6."""
    root, state = folders.store, folders.state / "containerd"
    return f"""\
version = 2
root = "{root}"
state = "{state}"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs"]

[grpc]
  address = "{folders.socket}"

[plugins."io.containerd.internal.v1.opt"]
  path = "{root}/opt"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  # Without CAP_SYS_RESOURCE nobody may lower a process's score, as a sandbox's would be.
  restrict_oom_score_adj = true
  # Else they would be mounted in a folder of the machine's, and stay there.
  netns_mounts_under_state_dir = true

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{folders.state}/cni"
"""


def cni_config(node: NodeSpec, folders: Folders) -> str:
    """Pods are routed, each by a cable of its own: no bridge, and nothing is translated."""
    addresses = {
        "type": "host-local",
        "dataDir": str(folders.state / "addresses"),
        "ranges": [[{"subnet": node.pods}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    plugins = [{"type": "ptp", "ipMasq": False, "ipam": addresses}]
    return json.dumps({"cniVersion": "1.0.0", "name": "pods", "plugins": plugins})


def kubelet_config(group: str, folders: Folders, pki: Path) -> str:
    """For a kubelet whose pods live below the control group `/group`."""
    config: dict[str, Any] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(folders.state / "kubelet.crt"),
        "tlsPrivateKeyFile": str(folders.state / "kubelet.key"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{group}",
        "enforceNodeAllocatable": ["pods"],
        "failCgroupV1": False,
        "failSwapOn": False,
        "containerRuntimeEndpoint": f"unix://{folders.socket}",
        # It would ask the file system about quotas, which may be any.
        "localStorageCapacityIsolation": False,
        "podLogsDir": str(folders.state / "logs"),
        "volumePluginDir": str(folders.state / "plugins"),
        "resolvConf": "",
        "clusterDomain": "cluster.local",
        "nodeStatusUpdateFrequency": "5s",
        "imageMinimumGCAge": "24h",
        # Of a disk that is shared with everything else on this machine.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%"},
        "shutdownGracePeriod": "0s",
    }
    return yaml.safe_dump(config)


def proxy_config(node: NodeSpec, folders: Folders) -> str:
    """For a kube-proxy that writes nftables, and leaves the machine's connection table alone."""
    config: dict[str, Any] = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": str(folders.kubeconfig("kube-proxy"))},
        "clusterCIDR": POD_NETWORK,
        "hostnameOverride": node.name,
        "conntrack": {
            "maxPerCore": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
        "healthzBindAddress": f"{node.address}:10256",
        "metricsBindAddress": "127.0.0.1:10249",
    }
    return yaml.safe_dump(config)


def boot_script(node: NodeSpec, folders: Folders, programs: Path, containerd: Path) -> str:
    """The first program of a node, run in namespaces of its own for mounts and processes.

    A kubelet changes settings of the kernel that it runs on, which here is the machine's. Where it
    looks for them, files are laid over them that have its values already: it changes nothing.
    """
    settings = folders.state / "kernel"
    covered = " ".join(KERNEL_SETTINGS)
    kubelet = [
        f"{programs}/kubelet",
        f"--config={folders.state}/kubelet.yaml",
        f"--kubeconfig={folders.kubeconfig('kubelet')}",
        f"--root-dir={folders.state}/kubelet",
        f"--hostname-override={node.name}",
        f"--node-ip={node.address}",
    ]
    return f"""\
# mounts made in here are seen by all containers of this node, and by nobody else
mount --make-rshared /
for name in {covered}; do
    if [ -e /proc/sys/$name ]; then mount --bind {settings}/$name /proc/sys/$name; fi
done
{containerd} --config {folders.state}/containerd.toml >>{folders.log("containerd")} 2>&1 &
while ! [ -S {folders.socket} ]; do sleep 0.1; done
{programs}/kube-proxy --config={folders.state}/kube-proxy.yaml >>{folders.log("kube-proxy")} 2>&1 &
while :; do
    {" ".join(kubelet)} >>{folders.log("kubelet")} 2>&1 &
    kubelet=$!
    wait $kubelet
    sleep 1
done
"""
