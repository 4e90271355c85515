"""Bursts of faults that only a site of several hosts can have. Called by ``bursts``."""

from sim.faults.burst import GRANTING, OF_THE_CONTROL, Burst, Make, wrong_with


def whole_site_is_lost(burst: Burst) -> None:
    """All hosts of one site, not quite at once; they do not come back at once either."""
    drawing, chance = burst.drawing, burst.drawing.chance
    what = drawing.pick("kill {} start {}", "kill {} start {}", "pause {} resume {}").split()
    for host in drawing.at(drawing.site()):
        after_s = chance.choice((0.0, 0.0, 0.1, 3.0, 12.0))
        burst.ail((f"{what[0]} {host}", f"{what[2]} {host}"), after_s, long=chance.random() < 0.7)
    if chance.random() < 0.5:
        burst.ail(chance.choice(OF_THE_CONTROL), chance.uniform(0.0, 16.0))


def hosts_reboot_in_turn(burst: Burst) -> None:
    """As for a new kernel: emptied first, or not, and perhaps before the last one is well again."""
    drawing, chance = burst.drawing, burst.drawing.chance
    emptied, at_s = chance.random() < 0.6, 0.0
    for host in chance.sample(drawing.names.hosts, len(drawing.names.hosts)):
        if emptied:
            burst.do(f"set {host} maintenance=true", at_s)
            at_s += chance.choice((2.0, 8.0, 20.0))
        burst.do(f"kill {host}", at_s)
        burst.do(f"start {host}", at_s + chance.uniform(0.5, 12.0))
        at_s += chance.choice((4.0, 12.0, 25.0))
        if emptied:
            burst.do(f"set {host} maintenance=false", at_s)


def two_are_parted(burst: Burst) -> None:
    """Two hosts lose each other alone; something ails at one of them, or in what it does then."""
    drawing, chance = burst.drawing, burst.drawing.chance
    one, other = drawing.in_common()
    cut = (f"cut replication {one} {other}", f"heal replication {one} {other}")
    burst.ail(cut, chance.uniform(0.0, 2.0), long=chance.random() < 0.5)
    host = drawing.pick(one, other)
    wrong, mends = chance.choice((*wrong_with(host), *OF_THE_CONTROL))
    if chance.random() < 0.5:
        burst.upon(host, GRANTING, wrong, most=3)
    else:
        burst.do(wrong, chance.uniform(0.0, 10.0))
    burst.mend(mends, 4.0)


def guests_are_held(burst: Burst) -> None:
    """Without the API a host lives on its links alone. One is lost, and what that freezes is killed
    and held; something ails there, or the link returns before the API.
    """
    drawing, chance = burst.drawing, burst.drawing.chance
    one, other = drawing.in_common()
    host, long = drawing.pick(one, other), chance.random() < 0.6
    away = (f"cut management {host}", f"heal management {host}")
    burst.ail(chance.choice((*OF_THE_CONTROL[:2], away)), long=True)
    cut = (f"cut replication {one} {other}", f"heal replication {one} {other}")
    after_s = chance.uniform(3.0, 8.0)
    burst.ail(cut, after_s, long=long)
    linger = chance.choice((0.5, 1.5, 4.0, 20.0))
    wrong = chance.choice(
        (
            ("", ""),
            ("", ""),
            (f"libvirt linger {host} {linger:g}", f"libvirt up {host}"),
            (f"libvirt hang {host}", f"libvirt up {host}"),
            (f"libvirt pause {host}", f"libvirt resume {host}"),
            (f"actuator kill {host}", ""),
            (f"pause {host}", f"resume {host}"),
            (f"kill {other}", f"start {other}"),
        )
    )
    if wrong[0]:
        burst.ail(wrong, after_s + chance.uniform(-1.0, 6.0))


OF_SEVERAL: tuple[tuple[int, Make], ...] = (
    (4, whole_site_is_lost),
    (3, hosts_reboot_in_turn),
    (4, two_are_parted),
    (4, guests_are_held),
)
"""Only where a site has several hosts."""
