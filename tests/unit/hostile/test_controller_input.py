"""Whatever an object holds, the controller plans, says what is wrong, and serves the others."""

import os
import re
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import generate_latest

from tandem_api.lease import Heartbeat
from tandem_api.meta import ObjectKey
from tandem_api.timing import DEFAULT
from tandem_controller.decide.plan import plan
from tandem_controller.decide.world.leases import Count, LeaseTracker
from tandem_controller.decide.world.links import observe_links
from tandem_controller.decide.world.model import Decision, Plan, Snapshot
from tandem_controller.edge.metrics import Metrics
from tandem_controller.run.store import TYPES, Store
from tandem_hostile import A, B, Raw, key, objects, spoiled

EXAMPLES = int(os.environ.get("TANDEM_EXAMPLES", "60"))
"""Of each property. Raise it for a long search."""
search = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
NOW_S = 1000.0
WALL = "2024-05-01T10:00:00Z"
OBJECTS = {key(raw): raw for raw in objects()}
OTHER = ObjectKey(namespace="ns", name="other")


def store_of(raws: list[Raw]) -> Store:
    store = Store()
    for kind in TYPES:
        store.replace(kind, [raw for raw in raws if raw["kind"] == kind])
    return store


def snapshot_of(store: Store, silent_s: dict[str, float]) -> Snapshot:
    counts = {
        name: Count(
            Heartbeat(
                host=name,
                instance=f"{name}/boot/run",
                version="77",
                watchdog_armed=True,
                timing=DEFAULT,
            ),
            since_s=NOW_S - 0.1 - silent_s[name],
            seen_at=WALL,
            renewed=True,
        )
        for name in (A, B)
    }
    mirrors = store.parsed("Mirror")
    return Snapshot(
        now_s=NOW_S,
        wall=WALL,
        leases=LeaseTracker(counts, read_s=NOW_S - 0.1),
        sites=store.parsed("Site"),
        hosts=store.parsed("Host"),
        mirrors=mirrors,
        guests=store.parsed("Guest"),
        unreadable=store.unreadable(),
        unknown_fields=store.unknown_fields(),
        link_down_since_s=observe_links({}, mirrors, 0.0),
    )


def planned(raws: list[Raw], silent_s: dict[str, float]) -> Plan:
    snapshot = snapshot_of(store_of(raws), silent_s)
    made = plan(snapshot)
    metrics = Metrics("test")
    metrics.objects.plan, metrics.objects.leads = made, True
    metrics.objects.leases = snapshot.leases
    generate_latest(metrics.registry)
    return made


silences = st.sampled_from([{A: 0.5, B: 0.5}, {A: 60.0, B: 0.5}, {A: 0.5, B: 60.0}])


def decided(made: Plan) -> Decision:
    """About the other guest, but for the words on who else would end if a host were powered off."""
    decision = made.decisions[OTHER]
    return replace(
        decision, message=re.sub(r" \(which ends .*? there, too\)", "", decision.message)
    )


class TestOneBadObject:
    @search
    @given(data=st.data(), silent_s=silences, which=st.sampled_from(sorted(OBJECTS)))
    def test_never_stops_the_planner(
        self, data: Any, silent_s: dict[str, float], which: tuple[str, str]
    ) -> None:
        bad = data.draw(spoiled(OBJECTS[which]))
        planned([bad if key(raw) == which else raw for raw in objects()], silent_s)

    @search
    @given(
        data=st.data(),
        silent_s=silences,
        which=st.sampled_from([("Mirror", "g"), ("Guest", "g")]),
    )
    def test_never_changes_what_is_decided_about_another_guest(
        self, data: Any, silent_s: dict[str, float], which: tuple[str, str]
    ) -> None:
        wanted = decided(planned(objects(), silent_s))
        bad = data.draw(spoiled(OBJECTS[which]))
        got = planned([bad if key(raw) == which else raw for raw in objects()], silent_s)
        assert decided(got) == wanted
