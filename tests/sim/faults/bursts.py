"""Faults that belong together: several at one moment, one in the middle of another, and their end.

A single command rarely breaks anything: what is looked for hides where faults meet. So a burst is a
short story: a whole site ails at once, the API stands still as the link is lost, a host dies
between two effects of the other's takeover. What it breaks lasts longer than the waits of the
protocol, or just not, and is mended by the burst, or left to what ends the schedule. Called by
``schedule``.
"""

import re

from sim.faults.burst import (
    AWAY,
    CLAIMING,
    GRANTING,
    MOVING,
    OF_THE_CONTROL,
    Burst,
    Make,
    wrong_with,
)
from sim.faults.drawing import Drawing, Timed
from sim.faults.outages import OF_SEVERAL
from tandem_scenario.plan import LINKS

RESET_S = (1.0, 14.0)
"""Within this time after it was cut off a host is reset, or has stopped its guests."""
FLAPS = (2, 5)


def site_ails(burst: Burst) -> None:
    """Several things at one moment, all at one host and on the ways to it."""
    chance, (host, _) = burst.drawing.chance, burst.drawing.pair()
    for wrong in chance.sample(wrong_with(host), chance.randint(2, 4)):
        burst.ail(wrong, burst.drawing.soon_s())
    if chance.random() < 0.4:
        burst.ail(chance.choice(OF_THE_CONTROL), burst.drawing.soon_s())


def host_is_lost(burst: Burst) -> None:
    """And something ails where its guests are to go, or comes right in between two steps there."""
    drawing, chance = burst.drawing, burst.drawing.chance
    lost, taker = drawing.pair()
    ends = (f"kill {lost}", f"start {lost}"), (f"pause {lost}", f"resume {lost}")
    burst.ail(chance.choice(ends), long=chance.random() < 0.8)
    wrong, mends = chance.choice((*wrong_with(taker), *OF_THE_CONTROL))
    if chance.random() < 0.5:
        burst.upon(taker, CLAIMING, drawing.pick(wrong, f"start {lost}", f"resume {lost}"))
    else:
        burst.do(wrong, chance.uniform(0.0, 16.0))
    burst.mend(mends, 16.0)


def lost_in_turn(burst: Burst) -> None:
    """One host dies, then the one that took over, with the first perhaps back by then."""
    drawing, chance = burst.drawing, burst.drawing.chance
    host, other = drawing.pair()
    dies_s = 0.0
    for lost in (host, other, host)[: chance.choice((2, 2, 3))]:
        how = drawing.pick("kill {}", "kill {}", "pause {}", "cut {}").format(lost)
        for command in (how,) if "cut" not in how else (f"cut {x} {lost}" for x in LINKS):
            burst.do(command, dies_s)
        back_s = dies_s + chance.uniform(2.0, 24.0)
        for command in (f"start {lost}", f"resume {lost}", *(f"heal {x} {lost}" for x in LINKS)):
            burst.do(command, back_s)
        dies_s += chance.uniform(12.0, 26.0)
    if chance.random() < 0.5:
        burst.ail(chance.choice(OF_THE_CONTROL), chance.uniform(0.0, dies_s))


def host_is_isolated(burst: Burst) -> None:
    """Both of its links, or one way of them, not always at once; they do not heal at once."""
    drawing, chance = burst.drawing, burst.drawing.chance
    host, _ = drawing.pair()
    long = chance.random() < 0.7
    for link in chance.sample(LINKS, 2):
        way = drawing.pick("", "", "", " in", " out")
        after_s = chance.choice((0.0, 0.05, 1.0, 3.0, 6.0))
        burst.ail((f"cut {link} {host}{way}", f"heal {link} {host}"), after_s, long=long)
    if chance.random() < 0.3:
        burst.ail(chance.choice(wrong_with(host)), drawing.soon_s())


def link_is_lost(burst: Burst, cut: str = "cut replication") -> None:
    """Something comes right between two steps of who is to write alone."""
    drawing, chance = burst.drawing, burst.drawing.chance
    host, other = drawing.pair()
    burst.do(cut, chance.uniform(0.0, 2.0))
    if cut == "cut replication":
        burst.mend("heal replication", 2.0)
    wrong, mends = chance.choice(wrong_with(host))
    halfway = drawing.pick(wrong, f"kill {host}", f"actuator kill {host}", f"handler kill {host}")
    if chance.random() < 0.6:
        burst.upon(host, GRANTING, halfway, most=3)
    else:
        burst.do(f"crash-after-grant {host}")
    burst.mend(mends, 2.0)
    burst.do(f"start {host}", 2.0 + drawing.lasts_s())
    if chance.random() < 0.4:
        burst.ail(chance.choice(wrong_with(other)), chance.uniform(0.0, 12.0))


def api_stands_still(burst: Burst, cut: str = "cut replication") -> None:
    """As the link is lost: what was asked is done when it goes on, also for who has died since."""
    drawing, chance = burst.drawing, burst.drawing.chance
    host, other = drawing.pair()
    wrong, mends = chance.choice(AWAY)
    away_s = chance.uniform(0.0, 4.0)
    if chance.random() < 0.4:  # it takes the very swap
        cut_s = away_s
        burst.upon(host, ("ReadMirror", "QueryDrbd"), wrong, away_s, most=1)
    else:
        cut_s = max(0.0, away_s + chance.uniform(-1.0, 4.0))
        burst.do(wrong, away_s)
    burst.do(cut, cut_s)
    back_s = max(away_s, cut_s) + chance.uniform(*RESET_S)
    burst.do(mends, back_s)
    if chance.random() < 0.6:  # else its watchdog may
        kill = f"kill {host}"
        dies = drawing.pick(kill, kill, f"keeper pause {host}", f"actuator kill {host}")
        if chance.random() < 0.3:
            burst.upon(host, ("Swap",), dies, cut_s)
        else:
            burst.do(dies, cut_s + chance.uniform(0.0, back_s - cut_s))
        burst.do(f"start {host}", back_s + drawing.lasts_s())
    elif chance.random() < 0.5:
        burst.ail((f"libvirt hang {host}", f"libvirt up {host}"), away_s)
    if chance.random() < 0.25:
        burst.ail(chance.choice(wrong_with(other)), cut_s)
    if cut == "cut replication":
        burst.mend("heal replication", back_s)


def answers_are_late(burst: Burst) -> None:
    """A write is carried out, and its writer hears so late, or never, or is dead by then."""
    drawing, chance = burst.drawing, burst.drawing.chance
    host, other = drawing.pair()
    ways = (
        (f"slow {host} 3 in", f"slow {host} 0 in"),
        (f"slow {host} 3 out", f"slow {host} 0 out"),
        (f"slow {host} 1 out", f"slow {host} 0 out"),
        (f"api mute {host}", f"api accept {host}"),
        (f"api refuse {host} 500 done", f"api accept {host}"),
        (f"cut management {host} in", f"heal management {host}"),
    )
    burst.ail(chance.choice(ways))
    asks_s = chance.uniform(0.0, 3.0)
    why = (
        ("cut replication", "heal replication"),
        (f"cut replication {host}", f"heal replication {host}"),
        (f"kill {other}", f"start {other}"),
        (f"pause {other}", f"resume {other}"),
        (f"fail-disk {host}", ""),
        (f"fail-disk {other}", ""),
    )
    burst.ail(chance.choice(why), asks_s)
    ends = drawing.pick(f"kill {host}", f"actuator kill {host}", f"pause {host}", "api restart")
    if chance.random() < 0.4:
        burst.upon(host, GRANTING, ends)
    else:
        burst.do(ends, asks_s + chance.uniform(0.0, 16.0))
    burst.do(drawing.pick(f"start {host}", f"resume {host}"), asks_s + 4.0 + drawing.lasts_s())


def link_flaps(burst: Burst) -> None:
    chance, host = burst.drawing.chance, burst.drawing.host()
    which = burst.drawing.pick("", f" {host}")
    at_s = 0.0
    for _ in range(chance.randint(*FLAPS)):
        burst.do(f"cut replication{which}", at_s)
        at_s += chance.choice((0.1, 0.5, 2.0, 4.0)) * chance.uniform(0.5, 1.5)
        burst.do(f"heal replication{which}", at_s)
        at_s += chance.choice((0.1, 0.5, 2.0)) * chance.uniform(0.5, 1.5)
    burst.do(chance.choice(wrong_with(host))[0], chance.uniform(0.0, at_s))


def guest_moves(burst: Burst) -> None:
    """As planned, and something comes in the middle of it."""
    drawing, chance = burst.drawing, burst.drawing.chance
    guest, site = drawing.guest(), drawing.site()
    way = chance.random()
    if way < 0.35:
        premises = drawing.premises()
        burst.do(f"set {premises} maintenance=true")
        burst.mend(f"set {premises} maintenance=false", 4.0)
    elif way < 0.7:
        burst.do(f"move {guest} {drawing.premises()}")
        if chance.random() < 0.3:
            burst.do(f"unmove {guest}", chance.uniform(0.0, 6.0))
    else:
        burst.do(f"set {guest} failback=Automatic")
        burst.do(f"set {guest} prefers={site}")
    host, other = drawing.pair()
    wrong, mends = chance.choice((*wrong_with(host), *OF_THE_CONTROL))
    if chance.random() < 0.6:
        effects = chance.choice((MOVING, CLAIMING))
        burst.upon(drawing.pick(host, other), effects, wrong)
    else:
        burst.do(wrong, chance.uniform(0.0, 10.0))
    burst.mend(mends, 5.0)
    if chance.random() < 0.3:
        burst.ail((f"libvirt refuse {other}", f"libvirt up {other}"))


def power_fails(burst: Burst) -> None:
    """Everywhere, not quite at once; it returns in any order, and to the API last perhaps."""
    drawing, chance = burst.drawing, burst.drawing.chance
    if chance.random() < 0.4:
        burst.ail(chance.choice((*AWAY, ("cut replication", "heal replication"))))
    hosts = drawing.names.hosts
    for host in chance.sample(hosts, chance.randint(2, len(hosts)) if drawing.several else 2):
        dies_s = chance.choice((0.0, 0.1, 3.0, 12.0, 16.0))
        burst.ail((f"kill {host}", f"start {host}"), dies_s, long=chance.random() < 0.5)


def disk_dies(burst: Burst) -> None:
    """And the link, or a host, with it."""
    drawing, chance = burst.drawing, burst.drawing.chance
    host, other = drawing.pair()
    burst.do(f"fail-disk {host}" + drawing.pick("", "", " 1"), chance.uniform(0.0, 3.0))
    why = (
        ("cut replication", "heal replication"),
        (f"kill {host}", f"start {host}"),
        (f"kill {other}", f"start {other}"),
        (f"pause {host}", f"resume {host}"),
        (f"fail-disk {other}", ""),
        (f"actuator kill {host}", ""),
        ("api pause", "api resume"),
    )
    for wrong in chance.sample(why, chance.randint(1, 2)):
        burst.ail(wrong, chance.uniform(0.0, 5.0))


def copy_is_hit(burst: Burst) -> None:
    """The link was lost for some time; something comes as what was missed is copied."""
    drawing, chance = burst.drawing, burst.drawing.chance
    host, other = drawing.pair()
    cut, heal = chance.choice(
        (("cut replication", "heal replication"), (f"kill {other}", f"start {other}"))
    )
    back_s = chance.uniform(4.0, 18.0)
    burst.do(cut)
    burst.do(heal, back_s)
    hit = chance.choice((*wrong_with(host), *wrong_with(other), ("cut replication", "")))
    if chance.random() < 0.6:
        moment = drawing.pick("Copied", "Compared")
        burst.upon(drawing.pick(host, other), (moment,), hit[0], most=1)
    else:
        burst.do(hit[0], back_s + chance.uniform(0.0, 8.0))
    burst.mend(hit[1], back_s + 4.0)


def stood_still(burst: Burst) -> None:
    """A machine that wakes up in the middle of its successor's first steps."""
    drawing, chance = burst.drawing, burst.drawing.chance
    host, other = drawing.pair()
    what = drawing.pick("", "", "actuator ")
    burst.do(f"{what}pause {host}")
    if chance.random() < 0.5:
        burst.ail(("cut replication", "heal replication"), drawing.soon_s())
    if chance.random() < 0.6:
        burst.upon(other, CLAIMING, f"{what}resume {host}")
    burst.do(f"{what}resume {host}", 1.0 + drawing.lasts_s(chance.random() < 0.7))


BURSTS: tuple[tuple[int, Make], ...] = (
    (4, site_ails),
    (6, host_is_lost),
    (4, lost_in_turn),
    (4, host_is_isolated),
    (3, link_is_lost),
    (5, api_stands_still),
    (3, answers_are_late),
    (1, link_flaps),
    (4, guest_moves),
    (2, power_fails),
    (2, disk_dies),
    (2, copy_is_hit),
    (2, stood_still),
)
"""(weight, what it makes up)."""
CUTTING: tuple[Make, ...] = (link_is_lost, api_stands_still)
"""Those in which the link is lost, which may be for good."""


MENDS: tuple[tuple[str, str], ...] = (
    (r"kill (\S+)", r"start \1"),
    (r"pause (\S+)", r"resume \1"),
    (r"cut (.+?)( in| out)?", r"heal \1"),
    (r"(slow \S+) \S+( in| out)?", r"\1 0\2"),
    (r"link narrow", "link wide"),
    (r"((?:watch lag|watch lose|watch double|starve|keeper starve) \S+) \S+", r"\1 0"),
    (r"kopf lag \S+", "kopf lag 0"),
    (r"(libvirt|drbd) events (\S+) \S+", r"\1 events \2 0"),
    (r"libvirt (?:down|refuse|slow|hang|linger|hold|late) (\S+).*", r"libvirt up \1"),
    (r"(libvirt|actuator|keeper) pause (\S+)", r"\1 resume \2"),
    (r"(api|controller) pause", r"\1 resume"),
    (r"api down", "api up"),
    (r"api stale", "api fresh"),
    (r"api (?:refuse|mute|narrow) (\S+).*", r"api accept \1"),
    (r"controller kill", "controller start"),
    (r"drbd spoil (\S+)", r"drbd correct \1"),
    (r"tcp hide (\S+)", r"tcp show \1"),
    (r"actuator stop (\S+)", r"actuator start \1"),
    (r"watchdog (?:away|refuse) (\S+).*", r"watchdog back \1"),
    (r"files (?!heal)\S+ (\S+).*", r"files heal \1"),
    (r"(set \S+) maintenance=true", r"\1 maintenance=false"),
    (r"(set \S+) running=false", r"\1 running=true"),
    (r"(set \S+) paused=true", r"\1 paused=false"),
    (r"clock jump (\S+) .*", r"clock right \1"),
    (r"bug (\S+) .*", r"fix \1"),
)
"""What a person, or a machine that starts anew, does about a command."""


def mending(command: str) -> str:
    """What ends what it does, if something can."""
    for form, mends in MENDS:
        if found := re.fullmatch(form, command):
            mended = found.expand(mends)
            return "" if mended == command else mended
    return ""


def burst_of(drawing: Drawing) -> list[Timed]:
    """One of them."""
    known = (*BURSTS, *OF_SEVERAL) if drawing.several else BURSTS
    weights = [weight for weight, _ in known]
    burst = Burst(drawing)
    drawing.chance.choices([make for _, make in known], weights)[0](burst)
    return burst.steps


def cut_for_good(drawing: Drawing, command: str) -> list[Timed]:
    """One in which this is how the link is lost."""
    burst = Burst(drawing)
    make = drawing.chance.choice((link_is_lost, api_stands_still, api_stands_still))
    make(burst, command)
    return burst.steps
