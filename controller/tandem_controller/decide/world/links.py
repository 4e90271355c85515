"""Since when this controller has seen a host report that its replication link is down.

Only for mirrors that a person has ordered to be overridden: everywhere else the host that takes
over counts this itself. Pure; called by ``loop`` before each plan.
"""

from collections.abc import Iterable, Mapping

from tandem_api.kinds.mirror import Mirror
from tandem_api.meta import ObjectKey

Key = tuple[ObjectKey, str]


def observe_links(
    known: Mapping[Key, float], mirrors: Iterable[Mirror], now_s: float
) -> dict[Key, float]:
    """The moments kept, added and dropped as the reports say now. Monotonic seconds."""
    down: dict[Key, float] = {}
    for mirror in mirrors:
        order = mirror.spec.override
        report = mirror.status.replicas.get(order.host) if order else None
        if order is None or report is None or not report.link_down:
            continue
        key = (mirror.key, order.host)
        down[key] = known.get(key, now_s)
    return down
