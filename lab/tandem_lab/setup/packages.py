"""Which Debian packages the lab needs, on this machine and in its root image. The one place.

Data only.
"""

from __future__ import annotations

# On the machine that runs the lab.
HOST_PACKAGES = (
    "debootstrap",
    "e2fsprogs",
    "gcc",
    "iproute2",
    "libc6-dev",
    "libvirt-dev",
    "nasm",
    "nftables",
    "pkg-config",
    "procps",
    "python3-dev",
    "python3-venv",
    "util-linux",
)

# Unpacked into the cache, never installed. The revision is the one that this lab was last tested
# with; an archive that has another one only is told of, and its kernel taken.
KERNEL_PACKAGE = "user-mode-linux"
KERNEL_REVISION = "6.1um4+b13"
KERNEL_VERSION = "6.1.176"

# In the site hosts.
ROOT_PACKAGES = (
    "drbd-utils",
    "e2fsprogs",
    "ethtool",
    "iproute2",
    "iputils-arping",
    "iputils-ping",
    "kmod",
    "libvirt-clients",
    "libvirt-daemon",
    "libvirt-daemon-driver-qemu",
    "lvm2",
    "nftables",
    "procps",
    "python3",
    "python3-venv",
    "qemu-system-x86",
    "systemd",
)

# Weight that nothing in a site host uses. QEMU's optional modules are also slow to probe.
ROOT_STRIP = (
    "init.d",
    "usr/share/doc",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/man",
    "usr/share/icons",
    "usr/lib/x86_64-linux-gnu/dri",
    "usr/lib/x86_64-linux-gnu/perl",
    "var/cache/apt",
    "var/lib/apt/lists",
)
ROOT_STRIP_PATTERNS = (
    # Whatever Debian enables, and what makes up units from what it finds: lab/rootfs/boot.sh says
    # what a site host runs.
    "etc/systemd/system/*.wants/*",
    "usr/lib/systemd/system/*.wants/*",
    "usr/lib/systemd/system-generators/*",
    "usr/lib/x86_64-linux-gnu/libLLVM*",
    "usr/lib/x86_64-linux-gnu/qemu/audio-*.so",
    "usr/lib/x86_64-linux-gnu/qemu/chardev-*.so",
    "usr/lib/x86_64-linux-gnu/qemu/hw-*.so",
    "usr/lib/x86_64-linux-gnu/qemu/ui-*.so",
    "usr/share/qemu/*.dtb",
    "usr/share/qemu/hppa-*",
    "usr/share/qemu/openbios-*",
    "usr/share/qemu/opensbi-*",
    "usr/share/qemu/palcode-*",
    "usr/share/qemu/s390-*",
    "usr/share/qemu/skiboot.lid",
    "usr/share/qemu/slof.bin",
)
