"""Which DRBD this host has, whether Tandem runs on it, and how it is called.

Called by ``assembly``, once for each run.
"""

import logging
import re
from dataclasses import dataclass
from pathlib import Path

from tandem_actuator.adapters.linux.process import run
from tandem_actuator.core.mirror.resource_file import GLOBAL_FILE
from tandem_actuator.ports import PortError

log = logging.getLogger(__name__)

COMMAND_TIMEOUT_S = 10.0

DRBD_DIR = Path("/etc/drbd.d")
MODULE_VERSION = Path("/sys/module/drbd/version")
# Where distributions keep the tool for 8.4; plain drbdsetup would start it as a second program.
SETUP_84 = (Path("/lib/drbd/drbdsetup-84"), Path("/usr/lib/drbd/drbdsetup-84"))
PROVEN = ("8.4", "9.2", "9.3")
"""Of these docs/drbd.md has a column: what was seen of each on real kernels."""


@dataclass(frozen=True)
class Tools:
    """Which DRBD this is and how to call it."""

    version: str
    utils_version: str
    setup: str = "drbdsetup"
    adm: str = "drbdadm"
    meta: str = "drbdmeta"

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])


def require_proven(tools: Tools) -> None:
    """Which data are where after a fault is DRBD's to say, and versions differ in it.

    Raises:
        PortError: the kernel's DRBD is another than Tandem is proven on.
    """
    if ".".join(tools.version.split(".")[:2]) in PROVEN:
        return
    known = " and ".join((", ".join(PROVEN[:-1]), PROVEN[-1]))
    raise PortError(
        f"the kernel has DRBD {tools.version}, and Tandem was never run on it, but on {known}."
        " Install one of those (drbd-dkms or kmod-drbd), or remove the module, so that modprobe"
        " finds the kernel's own, and boot; or, for guests whose data may be lost, set"
        " unproven_drbd: true"
    )


async def find_tools(drbd_dir: Path = DRBD_DIR) -> Tools:
    """Load the module and find out the versions; warn of a setting that would end handlers.

    Raises:
        PortError: there is no DRBD module, or no drbd-utils.
    """
    version = read_or_none(MODULE_VERSION)
    if version is None:
        (await run(["modprobe", "drbd"], timeout_s=COMMAND_TIMEOUT_S)).check()
        version = read_or_none(MODULE_VERSION)
    if version is None:
        raise PortError(f"the DRBD module is loaded, but {MODULE_VERSION} is not there")
    version = version.strip()
    shown = (await run(["drbdadm", "--version"], timeout_s=COMMAND_TIMEOUT_S)).check().stdout
    _warn_of_time_limit(drbd_dir)
    lines = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    direct = next((str(p) for p in SETUP_84 if p.exists()), "drbdsetup")
    return Tools(
        version=version,
        utils_version=lines.get("DRBDADM_VERSION", "unknown"),
        setup=direct if version.startswith("8.") else "drbdsetup",
    )


def read_or_none(path: Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PortError(f"cannot read {path}: {error}") from error


def _warn_of_time_limit(drbd_dir: Path) -> None:
    """See ``core.resource_file`` for why there must be none. The file is the administrator's."""
    path = drbd_dir / GLOBAL_FILE
    found = re.search(r"^\s*cmd-timeout-long\s+(\d+)", read_or_none(path) or "", re.MULTILINE)
    if found and found[1] != "0":
        log.warning(
            "%s: cmd-timeout-long %s ends fence-peer handlers, and what is frozen then stays so;"
            " set it to 0",
            path,
            found[1],
        )
