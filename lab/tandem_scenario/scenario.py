"""Reads a scenario file: what there is, what is done when, and what must come of it.

The format is described in docs/scenarios.md. Every mistake is told with its line. Called by the
command lines of the simulator and of the lab; their players play what this returns.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from tandem_api.reasons import Reason
from tandem_api.timing import MIN_LINK_DETECTION_S
from tandem_api.vocabulary import MovePhase
from tandem_scenario.located import BadScenario, Located, load
from tandem_scenario.plan import LINKS, GuestPlan, HostPlan, WorldPlan
from tandem_scenario.verbs import Act, Names, parse_act

NOWHERE = "nowhere"
QUANTITY = re.compile(r"[0-9]+(Ki|Mi|Gi)")

ANY_EFFECT = "Any"
EFFECTS = (
    ANY_EFFECT,
    "ReadMirror",
    "ReadHeartbeat",
    "QueryDrbd",
    "Swap",
    "UpdateRecord",
    "Configure",
    "Adjust",
    "CheckFiles",
    "ForbidTwo",
    "InspectMetadata",
    "ReadGenerations",
    "CreateMetadata",
    "Attach",
    "Connect",
    "CopyToPeer",
    "Disconnect",
    "SkipFirstSync",
    "Promote",
    "Demote",
    "ResumeIo",
    "StartGuest",
    "ShutDownGuest",
    "DestroyGuest",
    "CutNetwork",
    "QueryDomain",
    "SendGuest",
    "StopSending",
    "ReceiveGuest",
    "StopReceiving",
    "ResumeGuest",
    "Wait",
)
"""What an actuator's procedures do, one after another; a step may come right after one of them."""
MOMENTS = ("Copied", "Compared")
"""Of DRBD on a host: its volume has just been copied to, and the source does not know yet; the
bitmaps are about to be compared, with this host as the source, to find what is to be copied."""


@dataclass(frozen=True)
class Upon:
    """Right after an effect of this name on this host, the ``number``-th from then on."""

    host: str
    effect: str
    number: int = 1

    verb = "upon"
    """A player lists it among its verbs if it can tell."""


@dataclass(frozen=True)
class Step:
    """Something done at a moment; with ``upon``, not before that moment and right after that."""

    at_s: float
    act: Act
    line: int = 0
    upon: Upon | None = None


@dataclass(frozen=True)
class Expectation:
    """Something that must be so. ``at_s`` None: at the end. Only what is not None is asked."""

    line: int
    guest: str
    at_s: float | None = None
    by_s: float | None = None
    on: str | None = None
    reason: Reason | None = None
    mode: str | None = None
    protected: bool | None = None
    well: bool | None = None
    well_or_held: bool | None = None
    runs_or_says_why: bool | None = None
    stops: int | None = None
    downtime_below_s: float | None = None
    longest_gap_below_s: float | None = None
    moves: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Scenario:
    """A whole file. ``settled``: time 0 is when everything runs, not the first boot."""

    title: str
    description: str
    world: WorldPlan
    settled: bool
    lasts_s: float
    steps: tuple[Step, ...]
    expectations: tuple[Expectation, ...]


TOP = (
    "title",
    "description",
    "seed",
    "profile",
    "linkDetection",
    "drbd",
    "migration",
    "policies",
    "start",
    "hosts",
    "guests",
    "lasts",
    "steps",
    "expect",
)


def read(path: Path) -> Scenario:
    """Raises: BadScenario, OSError."""
    return parse(path.read_text())


def require_verbs(scenario: Scenario, verbs: Collection[str], player: str) -> None:
    """Raises: BadScenario: a step is of a kind that this player has no way of doing."""
    for step in scenario.steps:
        if step.act.verb not in verbs:
            raise BadScenario(step.line, f"{player} cannot do {step.act.verb!r}")
        if step.upon is not None and Upon.verb not in verbs:
            raise BadScenario(step.line, f"{player} cannot wait for an effect (`upon`)")


def parse(text: str) -> Scenario:
    """Raises: BadScenario."""
    document = load(text)
    top = document.fields(*TOP)
    for name in ("title", "steps", "expect", "lasts"):
        if name not in top:
            raise document.fail(f"{name} is missing")
    world = _world(top)
    known = Names(
        hosts=tuple(host.name for host in world.hosts),
        sites=world.sites,
        guests=tuple(guest.name for guest in world.guests),
        links=LINKS,
    )
    lasts_s = top["lasts"].seconds()
    steps = tuple(_step(item, known, lasts_s) for item in top["steps"].items())
    return Scenario(
        title=top["title"].text(),
        description=top["description"].text() if "description" in top else "",
        world=world,
        settled=_one_of(top.get("start"), ("settled", "blank"), "settled") == "settled",
        lasts_s=lasts_s,
        steps=tuple(sorted(steps, key=lambda step: step.at_s)),
        expectations=tuple(_expectation(item, known) for item in top["expect"].items()),
    )


def _world(top: dict[str, Located]) -> WorldPlan:
    default = WorldPlan()
    hosts = tuple(_host(item) for item in top["hosts"].items()) if "hosts" in top else default.hosts
    if "hosts" in top:
        _check_hosts(top["hosts"], hosts)
    guests = default.guests
    if "guests" in top:
        guests = tuple(_guest(item, hosts) for item in top["guests"].items())
    elif len(hosts) > 2:
        raise top["hosts"].fail("with more than two hosts, `guests` say on which two each is")
    return WorldPlan(
        hosts=hosts,
        guests=guests,
        profile=_one_of(top.get("profile"), ("Default", "Fast"), "Default"),
        detection_s=_detection_s(top["linkDetection"]) if "linkDetection" in top else None,
        seed=top["seed"].whole() if "seed" in top else default.seed,
        drbd=_drbd(top["drbd"]) if "drbd" in top else default.drbd,
        migration=top["migration"].truth() if "migration" in top else default.migration,
        policies=top["policies"].truth() if "policies" in top else default.policies,
    )


def _detection_s(where: Located) -> float:
    found_s = where.seconds()
    if found_s < MIN_LINK_DETECTION_S:
        raise where.fail(f"no link is noticed within less than {MIN_LINK_DETECTION_S:g} s")
    return found_s


def _check_hosts(where: Located, hosts: tuple[HostPlan, ...]) -> None:
    """Raises: BadScenario."""
    if len({host.site for host in hosts}) != 2:
        raise where.fail("hosts at two sites belong here, one or several at each")
    names = [host.name for host in hosts]
    if len({*names, *(host.site for host in hosts)}) != len(names) + 2:
        raise where.fail(f"the names of hosts and sites must differ: {', '.join(names)}")


def _drbd(found: Located) -> int:
    version = found.whole()
    if version not in (8, 9):
        raise found.fail(f"{version} is none of 8, 9")
    return version


def _one_of(found: Located | None, known: tuple[str, ...], default: str) -> str:
    if found is None:
        return default
    text = found.text()
    if text not in known:
        raise found.fail(f"{text!r} is none of {', '.join(known)}")
    return text


def _host(item: Located) -> HostPlan:
    fields = item.fields("name", "site", "watchdog", "clockRate", "memory", "fenceAgent")
    for name in ("name", "site"):
        if name not in fields:
            raise item.fail(f"{name} is missing")
    return HostPlan(
        name=fields["name"].text(),
        site=fields["site"].text(),
        watchdog=_one_of(fields.get("watchdog"), ("Required", "Optional", "None"), "Required"),
        clock_rate=fields["clockRate"].seconds() if "clockRate" in fields else 1.0,
        memory=_memory(fields, ""),
        fence_agent=fields["fenceAgent"].truth() if "fenceAgent" in fields else False,
    )


def _memory(fields: dict[str, Located], default: str) -> str:
    """As Kubernetes writes it: 64Mi."""
    found = fields.get("memory")
    if found is not None and not QUANTITY.fullmatch(found.text()):
        raise found.fail(f"{found.text()!r} is no amount of memory, as 64Mi")
    return found.text() if found is not None else default


def _guest(item: Located, hosts: tuple[HostPlan, ...]) -> GuestPlan:
    fields = item.fields(
        "name",
        "prefers",
        "failover",
        "failback",
        "failbackAfter",
        "running",
        "volumes",
        "holdoff",
        "resync",
        "priority",
        "protocol",
        "hosts",
        "memory",
    )
    if "name" not in fields:
        raise item.fail("name is missing")
    default = GuestPlan(fields["name"].text())
    prefers = fields.get("prefers")
    sites = tuple(host.site for host in hosts)
    return GuestPlan(
        name=default.name,
        prefers=_one_of(prefers, sites, sites[0]) if prefers else None,
        failover=_one_of(fields.get("failover"), ("Automatic", "Manual"), "Automatic"),
        failback=_one_of(fields.get("failback"), ("Automatic", "Manual"), "Manual"),
        failback_after_s=fields["failbackAfter"].whole() if "failbackAfter" in fields else 600,
        running=fields["running"].truth() if "running" in fields else True,
        volumes=tuple(v.text() for v in fields["volumes"].items())
        if "volumes" in fields
        else default.volumes,
        holdoff_s=fields["holdoff"].whole() if "holdoff" in fields else default.holdoff_s,
        resync_s=fields["resync"].seconds() if "resync" in fields else default.resync_s,
        priority=fields["priority"].whole() if "priority" in fields else default.priority,
        protocol=_one_of(fields.get("protocol"), ("A", "B", "C"), default.protocol),
        hosts=_replicas(item, fields.get("hosts"), hosts),
        memory=_memory(fields, default.memory),
    )


def _replicas(
    guest: Located, found: Located | None, hosts: tuple[HostPlan, ...]
) -> tuple[str, ...]:
    """The hosts of its mirror: one at each site. Where there are only two, none need be named."""
    if found is None:
        if len(hosts) > 2:
            raise guest.fail("hosts is missing: on which two it is, one at each site")
        return ()
    known = {host.name: host.site for host in hosts}
    names = tuple(_one_of(item, tuple(known), "") for item in found.items())
    if len(names) != 2 or known[names[0]] == known[names[1]]:
        raise found.fail("two hosts belong here, one at each site")
    return names


def _step(item: Located, known: Names, lasts_s: float) -> Step:
    fields = item.fields("at", "do", "upon")
    if not {"at", "do"} <= set(fields):
        raise item.fail("a step has `at` (seconds) and `do` (what), perhaps `upon`")
    at_s = fields["at"].seconds()
    if not 0 <= at_s <= lasts_s:
        raise fields["at"].fail(f"{at_s:g} s is not within the {lasts_s:g} s that it lasts")
    command = fields["do"].text()
    upon = _upon(fields["upon"], known) if "upon" in fields else None
    try:
        return Step(at_s, parse_act(command, known), fields["do"].line, upon)
    except ValueError as error:
        raise fields["do"].fail(str(error)) from error


def _upon(item: Located, known: Names) -> Upon:
    host, effect, number = (*item.text().split(), "1", "", "")[:3]
    if host not in known.hosts or effect not in (*EFFECTS, *MOMENTS) or not number.isdecimal():
        raise item.fail(
            f"write HOST EFFECT [NUMBER]: one of {', '.join(known.hosts)}, then one of"
            f" {', '.join((*EFFECTS, *MOMENTS))}"
        )
    return Upon(host, effect, int(number))


EXPECTED = (
    "guest",
    "at",
    "by",
    "on",
    "reason",
    "mode",
    "protected",
    "well",
    "wellOrHeld",
    "runsOrSaysWhy",
    "stops",
    "downtimeBelow",
    "longestGapBelow",
    "moves",
)


def _expectation(item: Located, known: Names) -> Expectation:
    fields = item.fields(*EXPECTED)
    if "guest" not in fields:
        raise item.fail("guest is missing")
    if len(set(fields) - {"guest", "at", "by"}) == 0:
        raise item.fail("nothing is expected; add on, reason, mode, protected, stops, …")
    if "at" in fields and "by" in fields:
        raise item.fail("either `at` or `by`")
    reason = _one_of(fields.get("reason"), tuple(Reason), "")
    return Expectation(
        line=item.line,
        guest=_one_of(fields["guest"], known.guests, ""),
        at_s=_optional_seconds(fields, "at"),
        by_s=_optional_seconds(fields, "by"),
        on=_one_of(fields["on"], (*known.hosts, NOWHERE), "") if "on" in fields else None,
        reason=Reason(reason) if reason else None,
        mode=_one_of(fields.get("mode"), ("Mirrored", "Standalone", "Hold"), "") or None,
        protected=fields["protected"].truth() if "protected" in fields else None,
        well=fields["well"].truth() if "well" in fields else None,
        well_or_held=fields["wellOrHeld"].truth() if "wellOrHeld" in fields else None,
        runs_or_says_why=fields["runsOrSaysWhy"].truth() if "runsOrSaysWhy" in fields else None,
        stops=fields["stops"].whole() if "stops" in fields else None,
        downtime_below_s=_optional_seconds(fields, "downtimeBelow"),
        longest_gap_below_s=_optional_seconds(fields, "longestGapBelow"),
        moves=tuple(_one_of(item, tuple(MovePhase), "") for item in fields["moves"].items())
        if "moves" in fields
        else None,
    )


def _optional_seconds(fields: dict[str, Located], name: str) -> float | None:
    return fields[name].seconds() if name in fields else None
