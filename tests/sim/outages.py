"""Bursts of faults that only a site of several hosts can have. Called by ``bursts``."""

from sim.burst import GRANTING, OF_THE_CONTROL, Burst, Make, wrong_with


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


OF_SEVERAL: tuple[tuple[int, Make], ...] = (
    (4, whole_site_is_lost),
    (3, hosts_reboot_in_turn),
    (4, two_are_parted),
)
"""Only where a site has several hosts."""
