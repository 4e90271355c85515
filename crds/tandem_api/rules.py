"""Rules that the API server itself checks, beyond the shape of each field.

``RULES`` are CEL expressions (``x-kubernetes-validations``). ``validation`` and the types check the
same things again, for objects that were stored before a rule was.

A server refuses a whole definition for a rule that it does not know or that might cost too much,
so they are plain: functions that every supported one has; loops over bounded lists only; no
comparison of map keys nor of what ``map`` or ``filter`` give, whose length a server takes as
unbounded.

``LIST_KEYS`` make lists merge and be unique by a key on every server.

Holds values only. Called by ``crdgen``, which fails if a path here names nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tandem_api import timing


@dataclass(frozen=True)
class Rule:
    """An expression that must be true, and what a person reads if it is not."""

    expression: str
    message: str


# "" is the whole object; "[]" is any item of a list.
LIST_KEYS: Mapping[str, Mapping[str, str]] = {
    "Site": {"status.conditions": "type"},
    "Host": {"status.conditions": "type"},
    "Mirror": {
        "spec.volumes": "name",
        "spec.replicas": "host",
        "status.conditions": "type",
    },
    "Guest": {
        "spec.domain.disks": "volume",
        "spec.domain.networks": "mac",
        "status.conditions": "type",
    },
}

_BYTES = (
    "int({0}.find('^[0-9]+')) * {{'': 1, 'Ki': 1024, 'Mi': 1048576, 'Gi': 1073741824,"
    " 'Ti': 1099511627776, 'k': 1000, 'M': 1000000, 'G': 1000000000, 'T': 1000000000000}}"
    "[{0}.find('[A-Za-z]*$')]"
)
_INDEXES = str(list(range(16)))  # as many as there may be volumes

SITE_RULES: Mapping[str, tuple[Rule, ...]] = {
    "spec": (
        Rule(
            # A server judges the default `{}` of spec as it stands, before profile has its own.
            "has(self.heartbeat) == (has(self.profile) && self.profile == 'Custom')",
            "heartbeat and profile Custom go together; set profile: Custom and give heartbeat,"
            " or remove heartbeat",
        ),
    ),
    "spec.heartbeat": (
        Rule(
            "self.leaseDurationSeconds >= self.clockRateRatio * (self.selfFenceSeconds"
            f" + self.fencingSeconds + double(self.watchdogSeconds)) + {timing.MARGIN_S}",
            "leaseDurationSeconds is too short; raise it to at least clockRateRatio x"
            f" (selfFenceSeconds + fencingSeconds + watchdogSeconds) + {timing.MARGIN_S}",
        ),
        Rule(
            "self.renewIntervalSeconds * 2.0 <= self.selfFenceSeconds",
            "renewIntervalSeconds leaves no room for one lost heartbeat; lower it to at most half"
            " of selfFenceSeconds",
        ),
        Rule(
            f"self.linkDetectionSeconds >= {timing.MIN_LINK_DETECTION_S}",
            f"linkDetectionSeconds cannot be met; raise it to at least"
            f" {timing.MIN_LINK_DETECTION_S}",
        ),
    ),
}

MIRROR_RULES: Mapping[str, tuple[Rule, ...]] = {
    "": (
        Rule(
            "self.spec.protocol == oldSelf.spec.protocol || !has(self.status)"
            " || !has(self.status.authority) || !has(self.status.authority.owner)"
            " || self.status.authority.owner == ''",
            "spec.protocol cannot change while a guest runs; set it back, or set running: false"
            " on the guest first",
        ),
        Rule(
            "!has(self.spec.port) || !has(self.status) || !has(self.status.deviceNumbers)"
            " || self.spec.port == self.status.deviceNumbers.port",
            "spec.port cannot change once the mirror is set up; set it back, or remove it",
        ),
    ),
    "spec": (
        Rule(
            "self.volumes.all(v, self.replicas.all(r, v.name in r.devices))",
            "replicas: a volume has no device; add one for every volume to both replicas' devices",
        ),
        Rule(
            "self.replicas.all(r, r.devices.size() <= self.volumes.size())",
            "replicas: devices name a volume that the mirror does not have; remove it, or add it"
            " to volumes",
        ),
        Rule(
            "self.replicas.all(r, self.volumes.all(v, !(v.name in r.devices)"
            " || self.volumes.exists_one(w, w.name in r.devices"
            " && r.devices[w.name] == r.devices[v.name])))",
            "replicas: a device is there twice; give each volume its own device",
        ),
        Rule(
            f"{_INDEXES}.all(i, i >= oldSelf.volumes.size() || (i < self.volumes.size()"
            " && self.volumes[i].name == oldSelf.volumes[i].name))",
            "volumes cannot be removed, renamed or reordered; add new ones at the end",
        ),
        Rule(
            "self.replicas.all(r, oldSelf.replicas.exists(o, o.host == r.host))",
            "replicas cannot move to another host; make a new mirror there and copy the data",
        ),
    ),
    "spec.volumes[].size": (
        Rule(
            f"self == oldSelf || {_BYTES.format('self')} >= {_BYTES.format('oldSelf')}",
            "a size cannot shrink: the data would be cut off; set it back, or make it larger",
        ),
    ),
    "spec.replicas": (
        Rule(
            "self.size() != 2 || self[0].host != self[1].host",
            "both replicas are on one host; name hosts of two sites",
        ),
    ),
    "spec.override": (
        Rule(
            "self.acceptDataLoss",
            "acceptDataLoss is false, so nothing would be done; set it to true, or remove override",
        ),
    ),
}

GUEST_RULES: Mapping[str, tuple[Rule, ...]] = {
    "": (
        Rule(
            "self.spec.mirror == oldSelf.spec.mirror || !has(self.status)"
            " || !has(self.status.host) || self.status.host == ''",
            "spec.mirror cannot change while the guest runs; set running: false first",
        ),
    ),
    "spec.domain": (
        Rule(
            "self.firmware != 'UEFI' || self.disks.all(d, d.bus != 'ide')",
            "disks: bus ide needs firmware BIOS; use sata or virtio",
        ),
    ),
    "spec.domain.disks": (
        Rule(
            "self.all(a, !has(a.boot) || self.exists_one(b, has(b.boot) && b.boot == a.boot))",
            "a boot number is given twice; number the disks 1, 2, …",
        ),
    ),
}

RULES: Mapping[str, Mapping[str, tuple[Rule, ...]]] = {
    "Site": SITE_RULES,
    "Host": {},
    "Mirror": MIRROR_RULES,
    "Guest": GUEST_RULES,
}
