"""Who this actuator is: host, boot and run. Called once, at its start."""

import uuid
from collections.abc import Callable
from pathlib import Path

from tandem_actuator.adapters.files.files import OS_FILES, FileSystem
from tandem_actuator.ports import PortError
from tandem_api.authority import Instance

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def new_instance(
    host: str,
    boot_id: Path = BOOT_ID,
    files: FileSystem = OS_FILES,
    new_id: Callable[[], uuid.UUID] = uuid.uuid4,
) -> Instance:
    """A new run on the present boot. A run id is never used twice.

    Raises:
        PortError: the kernel does not tell its boot id.
    """
    try:
        boot = str(uuid.UUID(files.read(boot_id).decode().strip()))
    except (OSError, ValueError) as error:
        raise PortError(f"cannot read the boot id from {boot_id}: {error}") from error
    return Instance(node=host, boot_id=boot, run_id=new_id().hex)
