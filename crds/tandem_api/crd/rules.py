"""Rules that the API server itself checks, beyond the shape of each field.

They are CEL expressions (``x-kubernetes-validations``). ``validation`` and the types check the
same things again, for objects that were stored before a rule was.

A server refuses a whole definition for a rule that it does not know or that might cost too much,
so they are plain: functions that every supported one has; loops over bounded lists only; no
comparison of map keys nor of what ``map`` or ``filter`` give, whose length a server takes as
unbounded.

A kind's list keys (``registry``) make lists merge and be unique by a key on every server.

Each kind's rules stand by a path: "" is the whole object, "[]" is any item of a list. Holds values
only. ``registry`` gives them to ``crdgen``, which fails if a path here names nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tandem_api import timing
from tandem_api.kinds import domain, guest_move, host, mirror, tandem


@dataclass(frozen=True)
class Rule:
    """An expression that must be true, and what a person reads if it is not.

    It is what the types and ``validation`` say, who add after a colon what a server cannot: a
    number as text, or a name that was looked for, is of unbounded length to it, and it refuses the
    whole definition. ``said`` is an expression that gives the message with the object's own words
    where a server can; it takes ``message`` if it cannot. ``field``, such as ``.spec.port``, is
    below where the rule stands.
    """

    expression: str
    message: str
    said: str = ""
    field: str = ""


_BYTES = (
    "int({0}.find('^[0-9]+')) * {{'': 1, 'Ki': 1024, 'Mi': 1048576, 'Gi': 1073741824,"
    " 'Ti': 1099511627776, 'k': 1000, 'M': 1000000, 'G': 1000000000, 'T': 1000000000000}}"
    "[{0}.find('[A-Za-z]*$')]"
)
_LEAST_LEASE_S = (
    "self.clockRateRatio * (self.selfFenceSeconds + self.fencingSeconds"
    f" + double(self.watchdogSeconds)) + {timing.MARGIN_S}"
)
_INDEXES = str(list(range(16)))  # as many as there may be volumes
# Added where no rule was in the way, and never set up: it may go again.
_NOT_IN_FORCE = (
    "(has(self.status) && has(self.status.deviceNumbers)"
    " && !(oldSelf.spec.volumes[i].name in self.status.deviceNumbers.minors))"
)

TANDEM_RULES: Mapping[str, tuple[Rule, ...]] = {
    "": (Rule(f"self.metadata.name == '{tandem.NAME}'", tandem.ONLY_ONE, field=".metadata.name"),),
}

SITE_RULES: Mapping[str, tuple[Rule, ...]] = {
    "spec": (
        # A server judges the default `{}` of spec as it stands, before profile has its own.
        Rule(
            "has(self.heartbeat) || !has(self.profile) || self.profile != 'Custom'",
            "is missing, and profile is Custom; add it, or set profile to Default or Fast",
            field=".heartbeat",
        ),
        Rule(
            "!has(self.heartbeat) || (has(self.profile) && self.profile == 'Custom')",
            "has no effect without profile Custom; set profile: Custom, or remove it",
            "'has no effect with profile ' + self.profile + '; set profile: Custom, or remove it'",
            ".heartbeat",
        ),
    ),
    "spec.heartbeat": (
        Rule(
            f"self.leaseDurationSeconds >= {_LEAST_LEASE_S}",
            timing.LEASE_TOO_SHORT,
        ),
        Rule(
            "self.renewIntervalSeconds * 2.0 <= self.selfFenceSeconds",
            timing.NO_ROOM,
        ),
        Rule(
            f"self.linkDetectionSeconds >= {timing.MIN_LINK_DETECTION_S}",
            timing.LINK_UNDETECTED,
        ),
    ),
}

MIRROR_RULES: Mapping[str, tuple[Rule, ...]] = {
    "": (
        Rule(
            "self.spec.protocol == oldSelf.spec.protocol || !has(self.status)"
            " || !has(self.status.authority) || !has(self.status.authority.owner)"
            " || self.status.authority.owner == ''",
            "cannot change while a guest runs; set it back, or set running: false on the guest"
            " first",
            "'cannot change from ' + oldSelf.spec.protocol + ' to ' + self.spec.protocol"
            " + ' while ' + self.status.authority.owner + ' uses the mirror; set it back to '"
            " + oldSelf.spec.protocol + ', or set running: false on the guest first'",
            ".spec.protocol",
        ),
        Rule(
            "!has(self.spec.port) || !has(self.status) || !has(self.status.deviceNumbers)"
            " || self.spec.port == self.status.deviceNumbers.port",
            mirror.PORT_CHANGED,
            field=".spec.port",
        ),
        Rule(
            f"{_INDEXES}.all(i, i >= oldSelf.spec.volumes.size() || {_NOT_IN_FORCE}"
            " || (i < self.spec.volumes.size()"
            " && self.spec.volumes[i].name == oldSelf.spec.volumes[i].name))",
            mirror.VOLUMES_CHANGED,
            field=".spec.volumes",
        ),
        Rule(
            "!has(self.status) || !has(self.status.authority)"
            " || self.spec.volumes.all(v, oldSelf.spec.volumes.exists(o, o.name == v.name)"
            " || (has(self.status.deviceNumbers)"
            " && v.name in self.status.deviceNumbers.minors))",
            mirror.VOLUMES_ADDED,
            field=".spec.volumes",
        ),
    ),
    "spec": (
        Rule(
            "self.volumes.all(v, self.replicas.all(r, v.name in r.devices))",
            mirror.NO_DEVICE,
            field=".replicas",
        ),
        Rule(
            "self.replicas.all(r, r.devices.size() <= self.volumes.size())",
            mirror.NO_VOLUME,
            field=".replicas",
        ),
        Rule(
            "self.replicas.all(r, self.volumes.all(v, !(v.name in r.devices)"
            " || self.volumes.exists_one(w, w.name in r.devices"
            " && r.devices[w.name] == r.devices[v.name])))",
            mirror.SAME_DEVICE,
            field=".replicas",
        ),
        Rule(
            "self.replicas.all(r, oldSelf.replicas.exists(o, o.host == r.host))",
            "replicas cannot move to another host; make a new mirror there and copy the data",
            "'is ' + (oldSelf.replicas.exists(o, o.host == self.replicas[0].host)"
            " ? self.replicas[1].host : self.replicas[0].host)"
            " + ', but the replicas are on ' + oldSelf.replicas[0].host + ' and '"
            " + oldSelf.replicas[1].host + ' and cannot move; set it back, or make a new mirror and"
            " copy the data'",
            ".replicas",
        ),
    ),
    "spec.volumes[].size": (
        Rule(
            f"self == oldSelf || {_BYTES.format('self')} >= {_BYTES.format('oldSelf')}",
            "cannot shrink, since data would be cut off; set it back, or make it larger",
            "'cannot shrink from ' + oldSelf + ' to ' + self + ', since data would be cut off; set"
            " it back to ' + oldSelf + ', or make it larger'",
        ),
    ),
    "spec.replicas": (
        Rule(
            "self.size() != 2 || self[0].host != self[1].host",
            "both are on one host; name hosts of two sites",
            "'both are on host ' + self[0].host + '; name hosts of two sites'",
        ),
    ),
    "spec.override": (
        Rule(
            "self.acceptDataLoss",
            "is false, so nothing would be done; set it to true, or remove override",
            field=".acceptDataLoss",
        ),
    ),
}

_DIFFERENT_BOOT = Rule(
    "self.all(a, !has(a.boot) || self.exists_one(b, has(b.boot) && b.boot == a.boot))",
    domain.SAME_BOOT,
)

GUEST_RULES: Mapping[str, tuple[Rule, ...]] = {
    "": (
        Rule(
            "self.spec.mirror == oldSelf.spec.mirror || !has(self.status)"
            " || !has(self.status.host) || self.status.host == ''",
            "cannot change before the guest has stopped; set it back, and for a move set running:"
            " false and wait until its phase is Stopped",
            "'cannot change from ' + oldSelf.spec.mirror + ' to ' + self.spec.mirror + ' before the"
            " guest has stopped; set it back to ' + oldSelf.spec.mirror + ', and for a move set"
            " running: false and wait until its phase is Stopped'",
            ".spec.mirror",
        ),
    ),
    "spec.domain": (
        Rule(
            "self.firmware != 'UEFI' || self.disks.all(d, d.bus != 'ide')",
            domain.NO_IDE,
            field=".disks",
        ),
        Rule(
            "self.firmware != 'UEFI' || !has(self.cdroms) || self.cdroms.all(d, d.bus != 'ide')",
            domain.NO_IDE,
            field=".cdroms",
        ),
        Rule(
            "self.firmware == 'UEFI' || self.disks.filter(d, d.bus == 'ide').size()"
            " + (has(self.cdroms) ? self.cdroms.filter(d, d.bus == 'ide').size() : 0)"
            f" <= {domain.IDE_MAX}",
            domain.TOO_MANY_IDE,
            field=".disks",
        ),
        *(
            Rule(
                f"!has(self.{later}) || self.{later}.all(a, !has(a.boot) ||"
                f" !self.{earlier}.exists(b, has(b.boot) && b.boot == a.boot))",
                domain.SAME_BOOT,
                field=f".{later}",
            )
            for earlier, later in (("disks", "cdroms"), ("disks", "networks"))
        ),
        Rule(
            "!has(self.cdroms) || !has(self.networks) || self.networks.all(a, !has(a.boot)"
            " || !self.cdroms.exists(b, has(b.boot) && b.boot == a.boot))",
            domain.SAME_BOOT,
            field=".networks",
        ),
    ),
    "spec.domain.cdroms": (_DIFFERENT_BOOT,),
    "spec.domain.networks": (
        _DIFFERENT_BOOT,
        Rule(
            "self.all(a, self.exists_one(b, b.mac.lowerAscii() == a.mac.lowerAscii()))",
            domain.SAME_MAC,
        ),
    ),
    "spec.domain.disks": (_DIFFERENT_BOOT,),
}

GUEST_MOVE_RULES: Mapping[str, tuple[Rule, ...]] = {
    "spec": (Rule("self == oldSelf", guest_move.ONCE),),
    "spec.to": (Rule("has(self.site) != has(self.host)", guest_move.ONE_OF_THEM),),
}

HOST_RULES: Mapping[str, tuple[Rule, ...]] = {
    "spec.fenceAgent": (
        Rule(f"!(self.agent in {list(host.NO_POWER)})", host.NO_PROOF, field=".agent"),
        *(
            Rule(
                f"!has(self.parameters) || !('{name}' in self.parameters)",
                why,
                field=f".parameters.{name}",
            )
            for names, why in (
                (host.OWN_PARAMETERS, host.SAID_BY_TANDEM),
                (host.SECRET_PARAMETERS, host.KEPT_SECRET),
            )
            for name in names
        ),
    ),
    "spec.replicationAddress": (
        Rule(
            "isIP(self)",
            "is no IP address; write one such as 198.51.100.11",
            "self + ' is no IP address; write one such as 198.51.100.11'",
        ),
    ),
}
