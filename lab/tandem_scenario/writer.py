"""Writes a scenario as the file that ``scenario.parse`` reads: how a random failure is handed on.

Only what differs from the defaults is written. Called by those who make scenarios up.
"""

from dataclasses import fields
from typing import Any

import yaml

from tandem_scenario.plan import GuestPlan, HostPlan, WorldPlan
from tandem_scenario.scenario import Expectation, Scenario, Step

GUEST_FIELDS = {
    "name": "name",
    "prefers": "prefers",
    "failover": "failover",
    "failback": "failback",
    "failback_after_s": "failbackAfter",
    "running": "running",
    "volumes": "volumes",
    "holdoff_s": "holdoff",
    "resync_s": "resync",
    "priority": "priority",
    "protocol": "protocol",
    "hosts": "hosts",
    "memory": "memory",
}
HOST_FIELDS = {
    "name": "name",
    "site": "site",
    "watchdog": "watchdog",
    "clock_rate": "clockRate",
    "memory": "memory",
    "fence_agent": "fenceAgent",
}
EXPECTATION_FIELDS = {
    "guest": "guest",
    "at_s": "at",
    "by_s": "by",
    "on": "on",
    "reason": "reason",
    "mode": "mode",
    "protected": "protected",
    "well": "well",
    "well_or_held": "wellOrHeld",
    "runs_or_says_why": "runsOrSaysWhy",
    "stops": "stops",
    "downtime_below_s": "downtimeBelow",
    "longest_gap_below_s": "longestGapBelow",
    "moves": "moves",
}


def write(scenario: Scenario) -> str:
    """The text of a file that says the same."""
    default, world = WorldPlan(), scenario.world
    top: dict[str, Any] = {"title": scenario.title}
    if scenario.description:
        top["description"] = scenario.description
    if world.seed != default.seed:
        top["seed"] = world.seed
    if world.profile != default.profile:
        top["profile"] = world.profile
    if world.detection_s is not None:
        top["linkDetection"] = _number(world.detection_s)
    if world.drbd != default.drbd:
        top["drbd"] = world.drbd
    if world.migration:
        top["migration"] = True
    if not world.policies:
        top["policies"] = False
    if not scenario.settled:
        top["start"] = "blank"
    if world.hosts != default.hosts:
        top["hosts"] = [_host(host) for host in world.hosts]
    if world.guests != default.guests:
        top["guests"] = [_guest(guest) for guest in world.guests]
    top["lasts"] = _number(scenario.lasts_s)
    top["steps"] = [_step(step) for step in scenario.steps]
    top["expect"] = [_expectation(expectation) for expectation in scenario.expectations]
    # One line per guest, step and expectation, as people write them.
    parts = []
    for name, value in top.items():
        if isinstance(value, list) and value:
            parts += [f"{name}:\n", *(f"  - {_flow(item)}\n" for item in value)]
        else:
            parts.append(yaml.safe_dump({name: value}, width=100, allow_unicode=True))
    return "".join(parts)


def _flow(item: dict[str, Any]) -> str:
    text = yaml.safe_dump(
        item, default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True
    )
    return text.strip()


def _step(step: Step) -> dict[str, Any]:
    at, do = {"at": _number(step.at_s)}, {"do": step.act.command}
    if step.upon is None:
        return {**at, **do}
    number = f" {step.upon.number}" if step.upon.number > 1 else ""
    return {**at, "upon": f"{step.upon.host} {step.upon.effect}{number}", **do}


def _host(host: HostPlan) -> dict[str, Any]:
    return _differing(host, HostPlan(host.name, host.site), HOST_FIELDS, always=("name", "site"))


def _guest(guest: GuestPlan) -> dict[str, Any]:
    found = _differing(guest, GuestPlan(guest.name), GUEST_FIELDS, always=("name",))
    return {name: list(each) if isinstance(each, tuple) else each for name, each in found.items()}


def _expectation(expectation: Expectation) -> dict[str, Any]:
    default = Expectation(line=expectation.line, guest=expectation.guest)
    found = _differing(expectation, default, EXPECTATION_FIELDS, always=("guest",))
    if "moves" in found:
        found["moves"] = list(found["moves"])
    return {name: str(value) if name == "reason" else value for name, value in found.items()}


def _differing(
    value: object, default: object, names: dict[str, str], always: tuple[str, ...]
) -> dict[str, Any]:
    return {
        names[one]: _number(getattr(value, one))
        for one in (field.name for field in fields(value))  # type: ignore[arg-type]
        if one in names and (one in always or getattr(value, one) != getattr(default, one))
    }


def _number(value: Any) -> Any:
    """Whole seconds without a fraction, others to a thousandth."""
    if not isinstance(value, float):
        return value
    return int(value) if value.is_integer() else round(value, 3)
