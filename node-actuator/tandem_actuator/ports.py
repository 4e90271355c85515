"""What the actuator needs from the outside, as Protocols.

Every port has a real adapter in ``adapters/`` and a fake beside it in ``adapters/fakes.py``; both
pass the same contract tests. Every method has a timeout of its own and raises only what is named
here. Paths and resource names are validated by the API types before they get here.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from tandem_actuator.core.model import DrbdView, Generation, Metadata, Record
from tandem_api.authority import Authority, Instance
from tandem_api.kinds.guest import Guest, GuestReport
from tandem_api.kinds.mirror import Mirror, ReplicaReport
from tandem_api.lease import Heartbeat, HeartbeatContent
from tandem_api.meta import ObjectKey, Resource
from tandem_api.timing import Timing
from tandem_api.vocabulary import DomainState

T = TypeVar("T")
R = TypeVar("R", bound=Resource)


class PortError(Exception):
    """Base of every failure that an adapter reports."""


class CommandFailed(PortError):
    """A command was refused or failed; the message is for people. The state is to be re-read."""


class CommandTimeout(PortError):
    """No answer in time. Whether it took effect is unknown."""


class WatchdogTooSlow(PortError):
    """The device resets the machine later than was asked for; ``least_s``: its smallest timeout,
    if one was found.
    """

    def __init__(self, words: str, least_s: int | None) -> None:
        super().__init__(words)
        self.least_s = least_s


class KilledNotGone(CommandTimeout):
    """SIGKILL was delivered, and the guest executes nothing more; the kernel still holds it."""


class ApiUnavailable(PortError):
    """No usable answer from the API. For a write: whether it took effect is unknown."""


class ApiRefused(ApiUnavailable):
    """The API server does not let this host do it, or not with this content; nothing was changed.
    It is alive, and the same again would be refused again.
    """


class ApiConflict(PortError):
    """A compare-and-swap found something else; nothing was changed."""


class ApiGone(PortError):
    """The object is not there."""


@dataclass(frozen=True)
class Synced(Generic[T]):
    """All objects of a kind, as a list had them: what is not in it is gone."""

    objects: tuple[T, ...]


@dataclass(frozen=True)
class Changed(Generic[T]):
    """One object was added or changed."""

    object: T


@dataclass(frozen=True)
class Removed:
    """One object is gone."""

    key: ObjectKey


class Api(Protocol):
    """The API server. Reads are quorum reads; every call has a timeout."""

    async def read_mirror(self, key: ObjectKey) -> Mirror:
        """Raises: ApiUnavailable, ApiGone."""
        ...

    async def read_heartbeat(self, host: str) -> Heartbeat | None:
        """The host's lease, None if there is none. Raises: ApiUnavailable."""
        ...

    async def swap_authority(
        self, key: ObjectKey, uid: str, expected_epoch: int, authority: Authority
    ) -> Mirror:
        """Replace the authority if uid and epoch are as expected.

        Raises:
            ApiConflict: they are not; nothing changed.
            ApiUnavailable: no answer; it may have landed or may land later.
        """
        ...

    async def renew(self, heartbeat: HeartbeatContent) -> str:
        """Write this host's lease; its new resourceVersion. Raises: ApiUnavailable."""
        ...

    async def report_replica(
        self, key: ObjectKey, host: str, report: ReplicaReport, shown: ReplicaReport | None = None
    ) -> None:
        """Write Mirror.status.replicas[host]; ``shown``: what stands there, as far as is known.

        Raises: ApiUnavailable, ApiGone.
        """
        ...

    async def report_guest(
        self, key: ObjectKey, host: str, report: GuestReport, shown: GuestReport | None = None
    ) -> None:
        """Write Guest.status.hosts[host]; ``shown``: what stands there, as far as is known.

        Raises: ApiUnavailable, ApiGone.
        """
        ...

    async def report_host(self, name: str, instance: Instance, versions: Mapping[str, str]) -> None:
        """Write Host.status.instance, bootID and versions. Raises: ApiUnavailable, ApiGone."""
        ...

    def watch(self, kind: type[R]) -> AsyncIterator[Synced[R] | Changed[R] | Removed]:
        """Follow a kind for ever; begins with, and after every interruption repeats, Synced."""
        ...


class ObjectCache(Protocol):
    """The last seen mirrors and guests of this host, kept across restarts but not across boots."""

    def load(self) -> Sequence[tuple[Mirror, Guest | None]]:
        """All copies that can be read."""
        ...

    def store(self, mirror: Mirror, guest: Guest | None) -> None:
        """Replace the copy. One that cannot be kept costs only sight after a restart."""
        ...


@dataclass(frozen=True)
class DrbdEvent:
    """One change of a resource.

    ``was_connected``: the event says that the link to the peer was up at that moment. A link that
    came and went between two queries would otherwise be counted as lost since the first loss.
    ``was_behind``: it says that the local disk was not current.
    """

    name: str
    was_connected: bool = False
    was_behind: bool = False


class Drbd(Protocol):
    """DRBD on this host, one resource at a time. Names are ``Mirror.drbd_name``.

    Volumes are numbered in the order of ``Mirror.volume_names``; results are keyed by volume name.
    """

    async def query(self, mirror: Mirror) -> DrbdView:
        """Ask the kernel now. Never raises: a failure or timeout is DrbdUnknown."""
        ...

    def events(self) -> AsyncIterator[DrbdEvent]:
        """Changes of resources, from ``drbdsetup events2``. Restarts by itself.

        An empty name means "re-read everything" (events were skipped or the stream restarted).
        """
        ...

    async def configure(self, mirror: Mirror, text: str) -> bool:
        """Write the resource file (atomically, fsynced). True if its text changed."""
        ...

    async def adjust(self, mirror: Mirror) -> None:
        """Apply a changed file to a configured resource: options only, no connect or attach."""
        ...

    async def metadata(self, mirror: Mirror) -> Mapping[str, Metadata]:
        """Whether each volume's device carries metadata; CommandFailed if one cannot be read."""
        ...

    async def generations(self, mirror: Mirror) -> Mapping[str, Generation]:
        """Each volume's data generation, by the kernel where it is attached, else by the disk.

        Raises:
            CommandFailed: one cannot be read; the message says why.
        """
        ...

    async def create_metadata(self, mirror: Mirror, volumes: Collection[str]) -> None:
        """``create-md`` on these, refusing (CommandFailed) devices that hold other data."""
        ...

    async def attach(self, mirror: Mirror) -> None:
        """Create the resource and attach its disks, without connecting."""
        ...

    async def connect(self, mirror: Mirror, *, discard_my_data: bool) -> None:
        """Connect (from StandAlone or not yet connected)."""
        ...

    async def disconnect(self, mirror: Mirror) -> None:
        """Disconnect. Callers have done rule 9's compare-and-swap."""
        ...

    async def copy_to_peer(self, mirror: Mirror) -> None:
        """On 9: what the bitmap says that it lacks. Callers have done rule 9's compare-and-swap."""
        ...

    async def skip_first_sync(self, mirror: Mirror, volumes: Collection[str]) -> None:
        """``new-current-uuid --clear-bitmap`` on these: brand-new connected disks only."""
        ...

    async def promote(self, mirror: Mirror, *, force: bool) -> None:
        """Make Primary. May call the fence-peer program, which asks this very actuator."""
        ...

    async def demote(self, mirror: Mirror) -> None:
        """Make Secondary; CommandFailed while a device is held open."""
        ...

    async def resume_io(self, mirror: Mirror) -> None:
        """Thaw. Only for a replica that is about to be discarded."""
        ...

    async def versions(self) -> Mapping[str, str]:
        """``{"drbd": …, "drbd-utils": …}``."""
        ...


class Libvirt(Protocol):
    """Domains on this host. A guest's domain is found by its metadata, not only by name."""

    async def states(self) -> Mapping[str, DomainState]:
        """Domains that Tandem started, by domain name (``domain_name(guest)``).

        Raises:
            PortError: libvirt cannot be asked. Every guest is then UNKNOWN.
        """
        ...

    def events(self) -> AsyncIterator[str]:
        """Names of domains whose lifecycle changed; empty: re-read everything."""
        ...

    async def start(self, guest: Guest, xml: str) -> None:
        """Create a transient domain. CommandFailed carries libvirt's words."""
        ...

    async def shutdown(self, name: str) -> None:
        """Ask the guest to power off (ACPI). Returns at once."""
        ...

    async def destroy(self, name: str) -> None:
        """Pull the plug; returns once the process is gone. Own thread pool: it may hang.

        Raises:
            KilledNotGone: it is dead, but a frozen disk keeps its process from ending.
        """
        ...

    async def versions(self) -> Mapping[str, str]:
        """``{"libvirt": …, "qemu": …}``."""
        ...


class Premises(Protocol):
    """What a guest needs of this host besides DRBD: looked at, and nothing is changed by it."""

    async def refusal(self, xml: str) -> str:
        """Why libvirt does not take such a domain, in its words; empty if it does.

        It is defined with validation and undefined again, so it must bear a name of its own.

        Raises:
            PortError: libvirt does not answer.
        """
        ...

    async def missing(self, paths: Collection[str]) -> Collection[str]:
        """Those that are not there. Raises: PortError, it cannot be told in time."""
        ...

    async def device_bytes(self, paths: Collection[str]) -> Mapping[str, int]:
        """The sizes of block devices; what cannot be measured is left out."""
        ...


class Unseen:
    """The Premises of which nothing is known."""

    async def refusal(self, xml: str) -> str:
        raise PortError("libvirt is not asked here")

    async def missing(self, paths: Collection[str]) -> Collection[str]:
        raise PortError("nobody looks here")

    async def device_bytes(self, paths: Collection[str]) -> Mapping[str, int]:
        return {}


class Network(Protocol):
    """The guests' cards on this host."""

    async def cut(self, name: str) -> None:
        """Take down every tap of the domain, without the help of QEMU or libvirt."""
        ...


class Watchdog(Protocol):
    """The machine's watchdog. Something else feeds it, up to the deadline that it was told last."""

    @property
    def armed(self) -> bool: ...

    @property
    def timeout_s(self) -> int | None:
        """After so many seconds it resets at the latest; None if it is not armed. While another is
        being set it is the longer of both.
        """
        ...

    async def arm(self, timeout_s: int, until_s: float = ...) -> None:
        """Open and set it, or set another timeout; the deadline stays as it was told.

        ``until_s``: how far it may be fed where nobody has told a deadline yet.

        Raises:
            WatchdogTooSlow: it cannot do a timeout as short as this.
            PortError: there is none, it does not reset the machine, it refuses the timeout, or
                nobody answered in time. ``timeout_s`` says whether one is in force.
        """
        ...

    def feed_until(self, deadline_s: float) -> None:
        """Let it be fed until CLOCK_BOOTTIME passes the deadline; the newest call counts.

        Never waits: the guard calls it.
        """
        ...


@dataclass(frozen=True)
class WatchdogInfo:
    """``options``: bits of linux/watchdog.h (WDIOF_…). ``identity``: the driver's name."""

    options: int
    identity: str


class WatchdogDevice(Protocol):
    """The kernel's watchdog device: each method is one system call, and holds no decision.

    Each raises OSError with the kernel's words, and may hang. One process at a time has it open.
    """

    def open(self) -> None:
        """From now on the machine is reset unless it is fed."""
        ...

    def info(self) -> WatchdogInfo: ...

    def set_timeout(self, timeout_s: int) -> None:
        """Some drivers refuse what they cannot do, others set something near it."""
        ...

    def get_timeout(self) -> int: ...

    def keepalive(self) -> None: ...

    def no_way_out(self) -> bool:
        """Whether it goes on counting once it is closed; True if the kernel does not tell."""
        ...

    def close(self, *, disarm: bool) -> None:
        """``disarm``: with the magic character, so that the machine stays up if the driver can."""
        ...


class Stream(Protocol):
    """One end of a connection between two programs on this host, as the kernel offers it.

    Bytes, in order, cut anywhere. Nothing in it waits but ``readable``.
    """

    def send(self, data: bytes) -> int:
        """How much of it was taken. OSError: nothing, the other end is gone or does not read."""
        ...

    def receive(self) -> bytes:
        """What has come; empty: the other end is closed, and this was all.

        Raises:
            BlockingIOError: nothing has come since.
            OSError: the connection is broken.
        """
        ...

    async def readable(self) -> None:
        """Until ``receive`` has something to say; at once if this end is closed."""
        ...

    def close(self) -> None: ...


class StreamListener(Protocol):
    """Where connections come in."""

    async def accept(self) -> Stream:
        """The next one. Those that came meanwhile have waited. Raises: OSError."""
        ...


class KeeperProcess(Protocol):
    """The process that keeps the watchdog, seen from the actuator."""

    async def connect(self) -> Stream:
        """Raises: ConnectionRefusedError or FileNotFoundError: there is none. Other OSError."""
        ...

    async def start(self) -> None:
        """Start one that outlives this program; it listens a little later. Raises: OSError."""
        ...


class Records(Protocol):
    """The durable record of each mirror: one small file, replaced atomically, fsynced."""

    def load(self, uid_or_name: str) -> Record | None:
        """The record of a DRBD resource name. PortError if it is there and unreadable."""
        ...

    def store(self, name: str, record: Record) -> None:
        """Durable when it returns."""
        ...


class Permit(Protocol):
    """Until when this boot may run guests, as the last run left it."""

    @property
    def renewal_sent_at_s(self) -> float:
        """On CLOCK_BOOTTIME, from before the last confirmed heartbeat was sent."""
        ...

    @property
    def timing(self) -> Timing:
        """What that heartbeat published."""
        ...


class Permits(Protocol):
    """The permit, kept across restarts of the actuator but not across boots."""

    def load(self) -> Permit | None:
        """What the last run of this boot left; None if there is nothing of this boot."""
        ...

    def store(self, renewal_sent_at_s: float, timing: Timing) -> None:
        """Replace it. One that cannot be kept costs only time after a restart."""
        ...


class Starts(Protocol):
    """How many quick exits of the actuator there were in a row, on this boot."""

    def load(self) -> int: ...

    def store(self, quick_exits: int) -> None:
        """Replace it. One that cannot be kept is lost."""
        ...


class Clock(Protocol):
    """Time that goes on while the machine is suspended."""

    def boottime_s(self) -> float: ...

    def wall(self) -> str:
        """RFC 3339 with microseconds, for people only."""
        ...
