"""Where the lab keeps things on this machine, and the names of what it creates.

It decides nothing. Everything the lab makes lies below the two folders named here or inside the
one network namespace; removing them removes the lab. Used by every other module.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

CACHE_VARIABLE = "TANDEM_CACHE"
STATE_VARIABLE = "TANDEM_LAB_DIR"
NAMESPACE_VARIABLE = "TANDEM_LAB_NAMESPACE"
MODULES_VARIABLE = "TANDEM_DRBD_MODULES"

# The project's checkout: mounted read-only in every site host.
SOURCE_DIR = Path(__file__).resolve().parents[2]
LAB_DIR = SOURCE_DIR / "lab"


class LabError(RuntimeError):
    """The lab could not do what was asked. Its subclasses name the cases that callers tell apart.

    LabError
     ├─ HostDownError         the host does not run
     ├─ HostUnreachableError  it runs, but its agent does not answer in time
     └─ CommandError          a command ended with an exit code that was not allowed
    """


@dataclass(frozen=True)
class Settings:
    """Folders and names. `from_environment` is how programs get one.

    `drbd_modules`: a folder with the DRBD that hosts are to run; None: their kernel's own.
    """

    cache_dir: Path
    state_dir: Path
    namespace: str
    drbd_modules: Path | None = None

    @classmethod
    def from_environment(cls) -> Settings:
        """Read TANDEM_CACHE, TANDEM_LAB_DIR, TANDEM_LAB_NAMESPACE and TANDEM_DRBD_MODULES, all of
        them optional.
        """
        cache_dir = os.environ.get(CACHE_VARIABLE) or "~/.cache/tandem"
        state_dir = os.environ.get(STATE_VARIABLE) or "/var/tmp/tandem-lab"
        namespace = os.environ.get(NAMESPACE_VARIABLE) or "tandem-lab"
        given = os.environ.get(MODULES_VARIABLE)
        modules = Path(given).expanduser().absolute() if given else None
        return cls(Path(cache_dir).expanduser(), Path(state_dir), namespace, modules)

    @property
    def root_image(self) -> Path:
        """The read-only root file system that all site hosts share."""
        return self.cache_dir / "root.img"

    @property
    def kernel_dir(self) -> Path:
        """The user-mode Linux package, unpacked."""
        return self.cache_dir / "kernel"

    @property
    def kernel(self) -> Path:
        """The user-mode Linux program."""
        return self.kernel_dir / "usr/bin/linux.uml"

    @property
    def kernel_preload(self) -> Path:
        """The library that the user-mode Linux program is started with (lab/kernel)."""
        return self.cache_dir / "xstate.so"

    @property
    def libvirt_cache_dir(self) -> Path:
        """What libvirt learnt of QEMU when it was asked once; saves 15 s per boot."""
        return self.cache_dir / "libvirt-cache"

    @property
    def guests_dir(self) -> Path:
        """The assembled guests."""
        return self.cache_dir / "guests"

    def host_dir(self, host: str) -> Path:
        """A site host's disks, console and share."""
        return self.state_dir / "hosts" / host

    def source_link(self, host: str) -> Path:
        """A link to what a site host sees as its source (`source.Checkout.give`)."""
        return self.host_dir(host) / "source"

    def source_dir(self, host: str) -> Path:
        """What a site host mounts as its source. A link is followed at each of its looks."""
        link = self.source_link(host)
        return link if link.is_symlink() else SOURCE_DIR

    def share_dir(self, host: str) -> Path:
        """Seen inside the host as /site."""
        return self.host_dir(host) / "share"
