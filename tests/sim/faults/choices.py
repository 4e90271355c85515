"""What the random faults are drawn from: single faults by weight, and mixes of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sim.faults.drawing import Drawing
from tandem_api.registry import Component, watched_by
from tandem_scenario.plan import LINKS
from tandem_scenario.verbs import PARTS, PLACES

BURSTS = "bursts"

WATCHED = tuple(info.kind for info in watched_by(Component.CONTROLLER))
RECOVERY_S = 120.0
"""Within this time after everything was mended, every guest runs and is protected."""
CODES = ("403", "409", "422", "429", "500", "503")
CALLS = ("open", "look", "start", "shutdown", "destroy")
JUMPS_S = ("1.5", "40", "3600", "90000", "300000000")
"""Of wall clocks: from what NTP steps to a clock that has forgotten the year."""
BETWEEN_TWO = 0.25
"""Where a site has several hosts: how many of the cuts are between two hosts alone."""
Draw = Callable[["Drawing"], str]


def _end(drawing: Drawing) -> str:
    """One direction of a host's end is cut, or the end, or the whole link; or what two have."""
    if drawing.several and drawing.chance.random() < BETWEEN_TWO:
        return "cut replication {} {}".format(*drawing.in_common())
    link = drawing.pick(*LINKS)
    host = drawing.host()
    return f"cut {link} " + drawing.pick("", host, host, host, f"{host} in", f"{host} out")


def _heal(drawing: Drawing) -> str:
    return f"heal {drawing.pick(*LINKS)}"


def _object(drawing: Drawing) -> str:
    """One of any kind, and mostly one that much hangs on."""
    guest = drawing.guest()
    return drawing.pick(
        f"Guest/{guest}",
        f"Guest/{guest}",
        f"Mirror/{guest}",
        f"Mirror/{guest}",
        f"Host/{drawing.host()}",
        f"Site/{drawing.site()}",
    )


KINDS: Mapping[str, tuple[tuple[int, Draw], ...]] = {
    "machines": (
        (1, lambda d: f"crash {d.guest()}"),
        (4, lambda d: f"kill {d.host()}"),
        (6, lambda d: f"start {d.host()}"),
        (3, lambda d: f"pause {d.host()}"),
        (5, lambda d: f"resume {d.host()}"),
        (1, lambda d: f"clock {d.host()} {d.pick('0.9', '1', '1.01')}"),
        (1, lambda d: f"crash-after-grant {d.host()}"),
    ),
    "links": (
        (12, _end),
        (10, _heal),
        (2, lambda d: "link narrow"),
        (2, lambda d: "link wide"),
        (2, lambda d: f"slow {d.program()} {d.pick('0.3', '1.5', '4')}"),
        (2, lambda d: f"slow {d.program()} 0"),
    ),
    "control": (
        (2, lambda d: "api down"),
        (3, lambda d: "api up"),
        (2, lambda d: "api pause"),
        (3, lambda d: "api resume"),
        (1, lambda d: "api restart"),
        (1, lambda d: f"watch lag {d.program()} {d.pick('0.5', '3', '12')}"),
        (1, lambda d: f"watch lag {d.program()} 0"),
        (1, lambda d: f"watch silent {d.program()}"),
        (1, lambda d: f"watch close {d.program()}"),
        (1, lambda d: "controller kill"),
        (2, lambda d: "controller start"),
        (1, lambda d: "controller pause"),
        (1, lambda d: "controller second"),
        (1, lambda d: "controller resume"),
    ),
    "programs": (
        (3, lambda d: f"actuator kill {d.host()}"),
        (1, lambda d: f"actuator stop {d.host()}"),
        (1, lambda d: f"actuator start {d.host()}"),
        (2, lambda d: f"actuator pause {d.host()}"),
        (2, lambda d: f"actuator resume {d.host()}"),
        (1, lambda d: f"handler kill {d.host()}"),
        (1, lambda d: f"drbd spoil {d.host()}"),
        (2, lambda d: f"drbd correct {d.host()}"),
        (1, lambda d: f"libvirt down {d.host()}"),
        (2, lambda d: f"libvirt up {d.host()}"),
        (1, lambda d: f"libvirt refuse {d.host()}"),
        (1, lambda d: f"libvirt slow {d.host()} {d.pick('4', '40')}"),
        (1, lambda d: f"libvirt hang {d.host()}"),
        (1, lambda d: f"fence-agent {d.pick('hang', 'refuse', 'away', 'bounce')} {d.host()}"),
        (1, lambda d: f"fence-agent well {d.host()}"),
    ),
    "disks": (
        (2, lambda d: f"fail-disk {d.host()}"),
        (1, lambda d: f"fail-disk {d.host()} 1"),
        (2, lambda d: f"hang-disk {d.host()}"),
        (1, lambda d: f"hang-disk {d.host()} 1"),
        (1, lambda d: f"hang-disk {d.host()} reads"),
        (2, lambda d: f"unhang-disk {d.host()}"),
        (1, lambda d: f"detach {d.host()}"),
        (1, lambda d: f"stall-resync {d.guest()}"),
        (1, lambda d: f"stall-resync {d.guest()} unheard"),
        (2, lambda d: f"verify {d.guest()}"),
    ),
    "watchdogs": (
        (2, lambda d: f"keeper kill {d.host()}"),
        (2, lambda d: f"keeper pause {d.host()}"),
        (3, lambda d: f"keeper resume {d.host()}"),
        (1, lambda d: f"keeper starve {d.host()} {d.pick('0.1', '0.5', '2')}"),
        (1, lambda d: f"keeper starve {d.host()} 0"),
        (1, lambda d: f"watchdog away {d.host()}"),
        (1, lambda d: f"watchdog refuse {d.host()} {d.pick('2', '3')}"),
        (2, lambda d: f"watchdog back {d.host()}"),
        (1, lambda d: f"tcp hide {d.host()}"),
        (1, lambda d: f"tcp show {d.host()}"),
    ),
    "files": (
        (1, lambda d: f"files full {d.host()}"),
        (1, lambda d: f"files full {d.host()} run"),
        (1, lambda d: f"files read-only {d.host()}"),
        (1, lambda d: f"files unsynced {d.host()}"),
        (1, lambda d: f"files unreadable {d.host()}"),
        (3, lambda d: f"files heal {d.host()}"),
        (2, lambda d: f"damage-records {d.host()}"),
    ),
    "answers": (
        (2, lambda d: f"api refuse {d.program()} {d.pick(*CODES)}"),
        (1, lambda d: f"api refuse {d.program()} {d.pick(*CODES)} writes"),
        (1, lambda d: f"api refuse {d.program()} {d.pick(*CODES)} half"),
        (1, lambda d: f"api refuse {d.program()} {d.pick('500', '503')} done"),
        (1, lambda d: f"api mute {d.program()}"),
        (1, lambda d: f"api narrow {d.program()}"),
        (1, lambda d: f"api refuse {d.program()} {d.pick('403', '500')} objects"),
        (3, lambda d: f"api accept {d.program()}"),
        (1, lambda d: "api stale"),
        (1, lambda d: "api fresh"),
        (1, lambda d: "api compact"),
        (1, lambda d: f"watch expire {d.program()}"),
        (1, lambda d: f"watch lose {d.program()} {d.pick('20', '100')}"),
        (1, lambda d: f"watch lose {d.program()} 0"),
        (1, lambda d: f"watch double {d.program()} {d.pick('0', '50')}"),
        (1, lambda d: f"slow {d.program()} {d.pick('1', '3')} {d.pick('in', 'out')}"),
        (1, lambda d: f"slow {d.program()} 0 {d.pick('in', 'out')}"),
    ),
    "kopf": (
        (1, lambda d: "kopf kill"),
        (1, lambda d: f"kopf give-up {d.pick(*WATCHED)}"),
        (1, lambda d: f"kopf lag {d.pick('2', '10')}"),
        (1, lambda d: "kopf lag 0"),
    ),
    "starved": (
        (3, lambda d: f"starve {d.program()} {d.pick('0.05', '0.3', '1.5')}"),
        (2, lambda d: f"starve {d.program()} 0"),
    ),
    "libvirt": (
        (1, lambda d: f"libvirt pause {d.host()}"),
        (2, lambda d: f"libvirt resume {d.host()}"),
        (2, lambda d: f"libvirt hold {d.host()} {d.pick(*CALLS)}"),
        (1, lambda d: f"libvirt late {d.host()} {d.pick(*CALLS)} {d.pick('1', '6')}"),
        (1, lambda d: f"libvirt events {d.host()} {d.pick('0', '3')}"),
        (1, lambda d: f"drbd events {d.host()} {d.pick('0', '3')}"),
        (1, lambda d: f"drbd skip {d.host()}"),
    ),
    "people": (
        (1, lambda d: f"set {d.guest()} running=false"),
        (2, lambda d: f"set {d.guest()} running=true"),
        (1, lambda d: f"set {d.guest()} prefers={d.site()}"),
        (1, lambda d: f"set {d.guest()} failback={d.pick('Automatic', 'Manual')}"),
        (1, lambda d: f"set {d.premises()} maintenance=true"),
        (2, lambda d: f"set {d.premises()} maintenance=false"),
        (1, lambda d: f"set {d.site()} profile={d.pick('Default', 'Fast')}"),
        (1, lambda d: f"set {d.subject()} paused=true"),
        (2, lambda d: f"set {d.subject()} paused=false"),
        (2, lambda d: f"move {d.guest()} {d.premises()}"),
        (1, lambda d: f"move {d.guest()} {d.premises()} within {d.pick('10', '20')}"),
        (1, lambda d: f"unmove {d.guest()}"),
        (1, lambda d: f"override-stale {d.guest()} {d.host()}"),
        (2, lambda d: f"override {d.guest()} {d.host()}"),
    ),
    "bugs": (
        (5, lambda d: f"bug {d.host()} {d.pick(*PLACES)} {d.guest()}"),
        (3, lambda d: f"bug controller {d.pick(*PARTS)} {_object(d)}"),
        (4, lambda d: f"fix {d.program()}"),
    ),
    "clocks": (
        (3, lambda d: f"clock jump {d.clock()} {d.pick(*JUMPS_S)}"),
        (3, lambda d: f"clock jump {d.clock()} {d.pick(*JUMPS_S)} back"),
        (2, lambda d: f"clock right {d.clock()}"),
    ),
    "restores": (
        (1, lambda d: "api backup"),
        (1, lambda d: "api restore"),
    ),
    "objects": (
        (1, lambda d: f"delete {d.guest()}"),
        (1, lambda d: f"recreate {d.guest()}"),
    ),
    "versions": (
        (2, lambda d: f"upgrade {d.program()}"),
        (1, lambda d: f"downgrade {d.program()}"),
        (1, lambda d: f"newer-protocol {d.guest()}"),
    ),
}
"""Mix → (weight, what to do)."""
MIXES = (*KINDS, BURSTS)
"""``--profile`` chooses among them; all of them together is the default."""


@dataclass(frozen=True)
class Choice:
    """Which faults, and within which time all must be well after they were mended. ``lasting``:
    some are not mended. ``drbd``: what the hosts run. ``migration``: they can send each other
    guests as these run, and each guest is moved beside the first faults. ``hosts``: of each site.
    """

    mixes: tuple[str, ...] = MIXES
    within_s: float = RECOVERY_S
    lasting: bool = False
    drbd: int = 8
    migration: bool = False
    hosts: int = 1
