"""Host: one machine with DRBD, libvirt and a node actuator, in one site."""

from enum import StrEnum
from ipaddress import ip_address
from typing import Annotated

from pydantic import AfterValidator, Field

from tandem_api.meta import Condition, Model, Name, Quantity, Resource

ADDRESS_PATTERN = r"^([0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9a-fA-F:]*:[0-9a-fA-F:]*)$"


def _canonical(address: str) -> str:
    """The address in its one usual form, so that equal ones compare equal.

    Raises:
        ValueError: it has the right characters but is no address, such as 198.51.100.300.
    """
    try:
        found = ip_address(address)
        if getattr(found, "ipv4_mapped", None) is not None:
            raise ValueError  # The same address in two forms; an API server takes none of them.
    except ValueError:
        raise ValueError(f"{address} is no IP address; write one such as 198.51.100.11") from None
    return str(found)


Address = Annotated[
    str,
    AfterValidator(_canonical),
    Field(
        pattern=ADDRESS_PATTERN,
        max_length=45,
        description="An IPv4 or IPv6 address.",
    ),
]


class WatchdogPolicy(StrEnum):
    """Whether a watchdog must stand behind the host's heartbeat.

    REQUIRED  guests start here only while the watchdog is armed.
    OPTIONAL  used if there is one. Without it a takeover from this host needs other proof.
    NONE      never used. A takeover from this host needs other proof.
    """

    REQUIRED = "Required"
    OPTIONAL = "Optional"
    NONE = "None"


class Capacity(Model):
    """What guests may use in all."""

    memory: Quantity
    cpus: Annotated[int, Field(ge=1, le=4096)]


class HostSpec(Model):
    """What a person decides about a host."""

    site: Annotated[Name, Field(description="The Site that this host stands in.")]
    replication_address: Annotated[Address, Field(description="Where DRBD listens.")]
    migration_address: Annotated[
        Address | None, Field(description="For live migration; the replication address if absent.")
    ] = None
    capacity: Annotated[Capacity | None, Field(description="Unlimited if absent.")] = None
    watchdog: WatchdogPolicy = WatchdogPolicy.REQUIRED
    maintenance: Annotated[
        bool, Field(description="Move every guest to its mirror's other host and place none here.")
    ] = False
    paused: Annotated[
        bool, Field(description="Neither start, stop nor take over any guest here or from here.")
    ] = False
    confirmed_down: Annotated[
        str | None,
        Field(
            description="A person's word that the host's instance with this boot id is powered"
            " off. Proof for a takeover where no watchdog gives one. See status.bootID."
        ),
    ] = None

    @property
    def takes_guests_at(self) -> str:
        """The address at which guests arrive that are sent as they run."""
        return self.migration_address or self.replication_address


class DrbdFiles(Model):
    """Whether drbdadm can read its files on a host; if not, what it says."""

    readable: bool
    message: str = ""


class HostStatus(Model):
    """What the host and the controller say about a host.

    The actuator writes ``instance``, ``bootID``, ``versions``, ``migrationPort`` and ``drbdFiles``,
    the controller the rest. ``migrationPort``: where it takes in guests that run; absent: it
    cannot. ``drbdFiles``: absent: that is not known.
    """

    instance: str = ""
    boot_id: Annotated[str, Field(alias="bootID")] = ""
    versions: dict[str, str] = {}
    migration_port: int | None = None
    drbd_files: DrbdFiles | None = None
    phase: str = ""
    lease: str = ""
    lease_since: str | None = None
    guests: int = 0
    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()


class Host(Resource):
    """A machine that runs guests."""

    spec: HostSpec
    status: HostStatus = HostStatus()
