"""Host: one machine with DRBD, libvirt and a node actuator, in one site."""

import re
from enum import StrEnum
from ipaddress import ip_address
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from tandem_api.meta import Condition, InvalidFields, Model, Name, Problem, Quantity, Resource

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


NO_POWER = (
    *("fence_ack_manual", "fence_compute", "fence_dummy", "fence_evacuate"),
    *("fence_heuristics_ping", "fence_kdump", "fence_mpath", "fence_sbd", "fence_scsi"),
)
"""Agents that do not switch power off, or whose "off" is not that of the machine."""
NO_PROOF = (
    "does not switch a machine's power, so its word proves nothing; name one that does, such as"
    " fence_ipmilan or fence_redfish"
)
PARAMETER_PATTERN = r"[a-z][a-z0-9_-]{0,63}"
NO_PARAMETER = "is no parameter of a fence agent; write one such as ip or plug"
OWN_PARAMETERS = ("action", "method", "delay", "plug_separator")
SAID_BY_TANDEM = "is for Tandem to say; remove it"
SECRET_PARAMETERS = ("passwd", "password", "snmp_priv_passwd", "token")
KEPT_SECRET = "can be read by whoever reads the Host; move it to the Secret of secretName"


class FenceAgent(Model):
    """How the host's power is switched off from outside: a program of the fence-agents project."""

    agent: Annotated[
        str,
        Field(
            pattern=r"^fence_[a-z0-9_]+$",
            max_length=64,
            description="The program's name, such as fence_ipmilan.",
        ),
    ]
    parameters: Annotated[
        dict[str, Annotated[str, Field(pattern=r"^[^\r\n]*$", max_length=512)]],
        Field(max_length=16, description="What it is given, by the names that it has for it."),
    ] = {}
    secret_name: Annotated[
        Name | None,
        Field(
            description="A Secret in Tandem's namespace. What it has is given to the agent as well,"
            " each key as a parameter."
        ),
    ] = None
    off_timeout_seconds: Annotated[
        int, Field(ge=1, le=300, description="For switching it off.")
    ] = 20
    status_timeout_seconds: Annotated[
        int, Field(ge=1, le=300, description="For asking whether it is off.")
    ] = 10

    def problems(self) -> list[Problem]:
        """What keeps it from being asked, or should not stand there."""
        found = [Problem("fenceAgent.agent", NO_PROOF)] if self.agent in NO_POWER else []
        odd = [name for name in self.parameters if not re.fullmatch(PARAMETER_PATTERN, name)]
        found += [Problem("fenceAgent.parameters", f"{name!r} {NO_PARAMETER}") for name in odd]
        for names, why in ((OWN_PARAMETERS, SAID_BY_TANDEM), (SECRET_PARAMETERS, KEPT_SECRET)):
            found += [
                Problem(f"fenceAgent.parameters[{name}]", why)
                for name in names
                if name in self.parameters
            ]
        return found


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

    fence_agent: Annotated[
        FenceAgent | None,
        Field(description="Switches this host off, as proof that it has stopped. None if absent."),
    ] = None

    @model_validator(mode="after")
    def _holds(self) -> Self:
        problems = self.fence_agent.problems() if self.fence_agent is not None else []
        if problems:
            raise InvalidFields(problems)
        return self

    @property
    def takes_guests_at(self) -> str:
        """The address at which guests arrive that are sent as they run."""
        return self.migration_address or self.replication_address


class DrbdFiles(Model):
    """Whether drbdadm can read its files on a host; if not, what it says."""

    readable: bool
    message: str = ""


class PoweredOff(Model):
    """A fence agent's confirmed word that the host's power is off. The controller writes it.

    About one boot, as long as its Lease is this version: a heartbeat after it shows that somebody
    else was switched off. ``at``: when it was confirmed, for people.
    """

    boot_id: Annotated[str, Field(alias="bootID")]
    lease_version: str
    agent: str = ""
    at: str = ""


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
    powered_off: PoweredOff | None = None
    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()


class Host(Resource):
    """A machine that runs guests."""

    spec: HostSpec
    status: HostStatus = HostStatus()
