"""The outside world, as the programs' parts are given it."""

import random
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tandem_actuator.ports import Clock
from tandem_actuator.ports.api import Api
from tandem_actuator.ports.drbd import Drbd
from tandem_actuator.ports.files import Looks, ObjectCache, Permits, Records, Starts
from tandem_actuator.ports.libvirt import Libvirt, Network, Premises, Unseen
from tandem_actuator.ports.migration import Migrations, NoMigrations
from tandem_actuator.ports.supervisor import Supervisor, Unsupervised


async def _at_once(work: Callable[[], None]) -> None:
    work()


@dataclass(frozen=True)
class Ports:
    """The outside world."""

    api: Api
    drbd: Drbd
    libvirt: Libvirt
    network: Network
    records: Records
    clock: Clock
    premises: Premises = field(default_factory=Unseen)
    migrations: Migrations = field(default_factory=NoMigrations)
    supervisor: Supervisor = field(default_factory=Unsupervised)
    chance: random.Random = field(default_factory=random.SystemRandom)
    """For request ids and jitter: whoever gives it a seed gets the same run again."""
    off_loop: Callable[[Callable[[], None]], Awaitable[None]] = _at_once
    """Runs what blocks, such as a disk's sync, while the loop goes on. It is never given up on."""

    def request_id(self) -> str:
        """One that nobody else has."""
        return uuid.UUID(int=self.chance.getrandbits(128), version=4).hex


@dataclass(frozen=True)
class Kept:
    """What is kept on a tmpfs for the next run on this boot."""

    permits: Permits
    starts: Starts
    looks: Looks
    cache: ObjectCache
