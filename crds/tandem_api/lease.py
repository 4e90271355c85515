"""A host's heartbeat: what it writes into its ``coordination.k8s.io/v1`` Lease, and how to read it.

The Lease carries, beside the holder, everything that somebody who counts its age must know: the
timing that the holder really uses and whether a watchdog stands behind it. So it is exactly as
fresh as the heartbeat itself. ``renewTime`` is for people; nobody decides on it.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, ValidationError

from tandem_api.authority import Instance
from tandem_api.meta import GROUP, Model, moment
from tandem_api.timing import Timing, for_watchdog

LEASE_NAMESPACE = "tandem-system"
LEASE_LABELS = {f"{GROUP}/heartbeat": "host"}
HOST_LABEL = f"{GROUP}/host"
SITE_LABEL = f"{GROUP}/site"
TIMING_ANNOTATION = f"{GROUP}/timing"
WATCHDOG_ANNOTATION = f"{GROUP}/watchdog"
WATCHDOG_LEAST_ANNOTATION = f"{GROUP}/watchdog-least-seconds"
"""Its smallest timeout, on a host that asked for less and was refused."""
CLOCK_ANNOTATION = f"{GROUP}/clock-seconds"
"""The holder's CLOCK_BOOTTIME before it sent the renewal: for its rate, never for its age."""
LINK_ANNOTATION = f"{GROUP}/link-acknowledged-by"
"""The holder, if it lives on a replication link by what has arrived at the peer. A holder of a
version that does not leaves the annotation as it is: another's name there says nothing of it.
"""

DELIVERY_ANNOTATION = f"{GROUP}/reports"
"""Whether what the holder reports arrives: Leases may pass where nothing else does."""
WHY_LENGTH = 200


def lease_name(host: str) -> str:
    """The name of the Lease of a host."""
    return f"host-{host}"


class Delivery(Model):
    """Whether a host's reports arrive, by its own word. ``run``: which run of it says so.

    ``since``: since when reports are not delivered, by its clock; empty if all are. ``count``:
    about how many objects; ``of``: their names, if they are few. ``deaf``: the host hears of
    nothing either. ``refused``: the API server answers, and does not take them. ``why``: an error.
    """

    run: Annotated[str, Field(max_length=100)]
    since: Annotated[str, Field(max_length=40)] = ""
    count: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    of: Annotated[tuple[Annotated[str, Field(max_length=130)], ...], Field(max_length=8)] = ()
    deaf: bool = False
    refused: bool = False
    why: Annotated[str, Field(max_length=WHY_LENGTH)] = ""


class Heartbeat(Model):
    """One heartbeat as read from the API.

    ``version`` is the Lease's resourceVersion: it changes with every renewal, and whether it
    changed is the only thing that counts as a sign of life. ``renewed_at`` is what the host's own
    clock said, for people. ``clock_s``: its CLOCK_BOOTTIME before it sent this, if it tells.
    ``link_acknowledged``: it lives on a replication link by what has arrived at the peer.
    ``delivery``: None of a host that does not tell, as an older one.
    """

    host: str
    instance: str
    version: str
    watchdog_armed: bool
    watchdog_least_s: int | None = None
    timing: Timing | None
    renewed_at: str = ""
    clock_s: float | None = None
    link_acknowledged: bool = False
    delivery: Delivery | None = None


class HeartbeatContent(Model):
    """What a host says with a heartbeat."""

    host: str
    site: str
    instance: str
    watchdog_armed: bool
    watchdog_least_s: int | None = None
    timing: Timing
    clock_s: float | None = None
    link_acknowledged: bool = False
    delivery: Delivery | None = None

    @property
    def labels(self) -> dict[str, str]:
        return {**LEASE_LABELS, HOST_LABEL: self.host, SITE_LABEL: self.site}

    @property
    def annotations(self) -> dict[str, str]:
        return {
            TIMING_ANNOTATION: self.timing.model_dump_json(by_alias=True),
            WATCHDOG_ANNOTATION: "armed" if self.watchdog_armed else "none",
            LINK_ANNOTATION: self.instance if self.link_acknowledged else "none",
            **self._least(),
            **self._clock(),
            **self._delivery(),
        }

    def _delivery(self) -> dict[str, str]:
        told = self.delivery
        if told is None:
            return {}
        return {DELIVERY_ANNOTATION: told.model_dump_json(by_alias=True, exclude_defaults=True)}

    def _clock(self) -> dict[str, str]:
        return {} if self.clock_s is None else {CLOCK_ANNOTATION: f"{self.clock_s:.3f}"}

    def _least(self) -> dict[str, str]:
        least_s = self.watchdog_least_s
        return {} if least_s is None else {WATCHDOG_LEAST_ANNOTATION: str(least_s)}


def heartbeat_of(lease: Mapping[str, Any]) -> Heartbeat | None:
    """Read a Lease; None if it is no host's heartbeat.

    What counts is its name, which a host's rights are bound to: a label can be written by whoever
    can write any Lease, and a heartbeat in another's name would keep a dead host alive.

    A timing that does not parse is None: then nobody may conclude anything from this Lease's age.
    """
    metadata = lease["metadata"]
    host = (metadata.get("labels") or {}).get(HOST_LABEL)
    if not host or metadata["name"] != lease_name(host):
        return None
    annotations = metadata.get("annotations") or {}
    try:
        timing = Timing.model_validate_json(annotations.get(TIMING_ANNOTATION, ""))
    except ValidationError:
        timing = None
    least = str(annotations.get(WATCHDOG_LEAST_ANNOTATION, ""))
    clock = str(annotations.get(CLOCK_ANNOTATION, ""))
    holder = str((lease.get("spec") or {}).get("holderIdentity") or "")
    return Heartbeat(
        host=host,
        instance=holder,
        version=metadata["resourceVersion"],
        watchdog_armed=annotations.get(WATCHDOG_ANNOTATION) == "armed",
        watchdog_least_s=int(least) if re.fullmatch(r"[1-9][0-9]{0,4}", least) else None,
        timing=timing,
        renewed_at=str((lease.get("spec") or {}).get("renewTime") or ""),
        link_acknowledged=bool(holder) and annotations.get(LINK_ANNOTATION) == holder,
        clock_s=float(clock) if re.fullmatch(r"[0-9]{1,10}\.[0-9]{3}", clock) else None,
        delivery=_delivery_of(str(annotations.get(DELIVERY_ANNOTATION, "")), holder),
    )


def _delivery_of(text: str, holder: str) -> Delivery | None:
    """None if it cannot be read, and if another run has said it: a renewal leaves the annotations
    that it does not know, so an older version's Lease may still have the word of the newer one.
    """
    try:
        told = Delivery.model_validate_json(text)
    except ValidationError:
        return None
    instance = Instance.parse(holder)
    if instance is None or told.run != instance.run_id:
        return None
    return told if not told.since or moment(told.since) is not None else None


def unarmed_host(host: str, least_s: int | None, timing: Timing | None) -> str:
    """What to say of a host that requires a watchdog and has none armed.

    Where the device would only take longer there is a better way than to do without one.
    """
    slower = for_watchdog(timing, least_s) if timing and least_s else None
    if slower is not None:
        return (
            f"{host} requires a watchdog, and its device takes no timeout below {least_s} s; allow"
            f" for that: on the Site of {host} set profile: Custom and heartbeat:"
            f" {slower.model_dump_json(by_alias=True)}"
        )
    return (
        f"{host} requires a watchdog and has none armed; set spec.watchdog to Optional to run"
        " guests without (a takeover from it then needs other proof)"
    )
