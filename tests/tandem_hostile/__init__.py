"""Objects as a careless or hostile writer may leave them: any JSON value in any place.

``objects`` are good ones of every kind, with full statuses. ``spoiled`` puts any value into any
one place of one of them (or takes the place away). What an API server itself guarantees is kept:
names, uid, resourceVersion, and labels and annotations that hold text.

Called by the tests in ``unit/hostile``; never by the programs.
"""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from hypothesis import strategies as st

from tandem_api.check.parsing import LAST_APPLIED
from tandem_api.meta import FINALIZER

Raw = dict[str, Any]
Place = tuple[str | int, ...]

A, B = "burjassot-1", "tarongers-1"
UIDS = {A: "uid-a", B: "uid-b"}
SITES = {A: "burjassot", B: "tarongers"}
ADDRESSES = {A: "198.51.100.11", B: "198.51.100.12"}
SINCE = "2024-05-01T09:00:00Z"
GONE = object()
"""In place of a value: the field is taken away."""

NASTY: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    2**63 - 1,
    -(2**63),
    1e300,
    0.1,
    "",
    " ",
    "nonsense",
    "0",
    "2024-05-01T09:00:00",
    "a/b/c",
    A,
    B,
    "../../etc/passwd",
    '"; }\n',
    "x" * 5000,
    "ñ\u0000\u202e",
    [],
    {},
    [None],
    [[]],
    {"": ""},
    {"a": None},
    [{"type": "Ready"}],
    {A: {}},
    {A: None, "ghost": {"eligible": True, "reason": "InSync"}},
    GONE,
)
_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
)
anything = st.sampled_from(NASTY) | st.recursive(
    _scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
"""Any JSON value, with more than a fair share of awkward ones."""

notes = st.sampled_from(
    ["[" * 100_000, '{"spec":' * 20_000, '{"metadata": 3}', "3", "null", "{", '{"spec": []}', "NaN"]
) | st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
"""What may stand in an annotation or a label."""


def _metadata(name: str, namespace: str = "ns") -> Raw:
    where = {"namespace": namespace} if namespace else {}
    return {
        "name": name,
        **where,
        "uid": UIDS.get(name, f"uid-{name}"),
        "resourceVersion": "5",
        "generation": 3,
        "creationTimestamp": SINCE,
        "labels": {"app": "accounts"},
        "annotations": {"note": "x", LAST_APPLIED: "{}"},
    }


def _conditions(*kinds: str) -> list[Raw]:
    return [
        {
            "type": kind,
            "status": "True",
            "reason": "Ready",
            "message": "",
            "observedGeneration": 3,
            "lastTransitionTime": SINCE,
        }
        for kind in kinds
    ]


def site(name: str) -> Raw:
    heartbeat = {
        "renewIntervalSeconds": 1.0,
        "selfFenceSeconds": 3.0,
        "queryFreshnessSeconds": 0.75,
        "fencingSeconds": 1.5,
        "watchdogSeconds": 2,
        "linkDetectionSeconds": 2.0,
        "leaseDurationSeconds": 10.5,
        "clockRateRatio": 1.5,
    }
    return {
        "apiVersion": "tandem.dev/v1alpha1",
        "kind": "Site",
        "metadata": _metadata(name, ""),
        "spec": {"profile": "Custom", "heartbeat": heartbeat, "maintenance": False, "priority": 1},
        "status": {
            "phase": "Ready",
            "lease": "Fresh",
            "leaseSince": SINCE,
            "hosts": "1/1",
            "guests": 1,
            "ifPeerFails": "all fit",
            "observedGeneration": 3,
            "conditions": _conditions("Ready", "SpecValid"),
        },
    }


def host(name: str) -> Raw:
    return {
        "apiVersion": "tandem.dev/v1alpha1",
        "kind": "Host",
        "metadata": _metadata(name, ""),
        "spec": {
            "site": SITES[name],
            "replicationAddress": ADDRESSES[name],
            "migrationAddress": ADDRESSES[name],
            "capacity": {"memory": "64Gi", "cpus": 16},
            "watchdog": "Required",
            "confirmedDown": "boot0",
        },
        "status": {
            "instance": f"{name}/boot/run",
            "bootID": "boot",
            "versions": {"drbd": "8.4.11"},
            "phase": "Ready",
            "lease": "Fresh",
            "leaseSince": SINCE,
            "observedGeneration": 3,
            "conditions": _conditions("Ready", "SpecValid"),
        },
    }


def _replica(name: str, *, marked: bool) -> Raw:
    marker = {"marker": {"reason": "LocalDiskFailed", "since": SINCE}} if marked else {}
    volume = {"disk": "UpToDate", "peerDisk": "UpToDate", "outOfSyncBytes": 0}
    return {
        "instance": f"{name}/boot/run",
        "epochSeen": 7,
        "role": "Primary" if name == A else "Secondary",
        "connection": "Connected",
        "peerRole": "Secondary" if name == A else "Primary",
        "suspended": False,
        "hasMetadata": True,
        **marker,
        "notConnectedSince": SINCE,
        "volumes": {"root": volume, "data": dict(volume)},
        "reason": "Steady",
        "message": "",
    }


def _authority(name: str) -> Raw:
    both = {"eligible": True, "reason": "InSync"}
    return {
        "epoch": 7,
        "incarnation": f"uid-{name}",
        "minProtocol": 1,
        "requestId": "r",
        "owner": A,
        "ownerInstance": f"{A}/boot/run",
        "mode": "Mirrored",
        "reason": "Claimed",
        "eligible": {A: dict(both), B: dict(both)},
        "fenced": {B: {"instance": f"{B}/boot/run", "epoch": 6}},
        "migration": {"id": "m", "source": A, "target": B},
        "override": {"by": "ana", "atEpoch": 5, "acceptDataLoss": True, "host": A},
    }


def mirror(name: str) -> Raw:
    devices = {volume: f"/dev/vg0/{name}-{volume}" for volume in ("root", "data")}
    volumes = [{"name": "root", "size": "20Gi"}, {"name": "data", "size": "1Ti"}]
    number = 10 if name == "other" else 0
    return {
        "apiVersion": "tandem.dev/v1alpha1",
        "kind": "Mirror",
        "metadata": _metadata(name),
        "spec": {
            "protocol": "C",
            "volumes": volumes,
            "replicas": [{"host": each, "devices": dict(devices)} for each in (A, B)],
            "port": 7789 + number,
            "resyncRateMax": "110Mi",
            "initialData": "Blank",
            "linkLossHoldoffSeconds": 2,
            "override": {"host": B, "epoch": 6, "acceptDataLoss": True, "by": "ana"},
        },
        "status": {
            "authority": _authority(name),
            "claimants": {A: {"guest": name, "proof": _proof()}},
            "deviceNumbers": {
                "port": 7789 + number,
                "minors": {"root": number, "data": number + 1},
            },
            "accepted": {
                "protocol": "C",
                "volumes": [dict(each) for each in volumes],
                "hosts": [A, B],
            },
            "replicas": {each: _replica(each, marked=name == "other") for each in (A, B)},
            "phase": "Redundant",
            "owner": A,
            "reason": "InSync",
            "message": "",
            "observedGeneration": 3,
            "conditions": _conditions("Connected", "InSync", "Redundant", "SpecValid"),
        },
    }


def guest(name: str) -> Raw:
    return {
        "apiVersion": "tandem.dev/v1alpha1",
        "kind": "Guest",
        "metadata": {**_metadata(name), "finalizers": [FINALIZER]},
        "spec": {
            "running": True,
            "mirror": name,
            "domain": _domain("52:54:00:00:00:02" if name == "other" else "52:54:00:00:00:01"),
            "placement": {"preferredSite": "tarongers"},
            "failover": {"policy": "Automatic"},
            "failback": {"policy": "Automatic", "afterSeconds": 600},
            "priority": 100,
            "shutdownTimeoutSeconds": 120,
        },
        "status": {
            "assignment": _assignment(name),
            "hosts": {A: _guest_report()},
            "phase": "Running",
            "site": "burjassot",
            "host": A,
            "mirror": "InSync",
            "protected": "True",
            "reason": "Running",
            "message": "",
            "lastTakeover": {
                "source": B,
                "target": A,
                "reason": "LeaseLost",
                "leaseLostAt": SINCE,
                "steps": {"assigned": SINCE},
            },
            "observedGeneration": 3,
            "conditions": _conditions("Running", "Protected", "Placed", "SpecValid"),
        },
    }


def _domain(mac: str) -> Raw:
    return {
        "cpus": 2,
        "memory": "4Gi",
        "firmware": "BIOS",
        "disks": [
            {"volume": "root", "bus": "virtio", "boot": 1},
            {"volume": "data", "bus": "scsi"},
        ],
        "networks": [{"bridge": "br0", "mac": mac, "model": "virtio"}],
        "template": "<domain><devices><rng model='virtio'/></devices></domain>",
    }


def _proof() -> Raw:
    return {
        "kind": "LeaseLost",
        "host": B,
        "instance": f"{B}/boot/run",
        "atEpoch": 6,
        "leaseVersion": "12",
        "watchdog": True,
    }


def _assignment(mirror: str) -> Raw:
    return {
        "host": A,
        "site": "burjassot",
        "mirror": mirror,
        "serial": 3,
        "reason": "LeaseLost",
        "message": "It is there",
        "proof": _proof(),
        "since": SINCE,
    }


def _guest_report() -> Raw:
    return {
        "instance": f"{A}/boot/run",
        "state": "Running",
        "assignmentSerial": 3,
        "startedAt": SINCE,
        "reason": "Running",
        "message": "",
        "steps": {"domainStarted": SINCE},
    }


def objects() -> list[Raw]:
    """Two sites with a host each, and two guests on mirrors of their own: ``g`` and ``other``."""
    return [
        *(site(name) for name in SITES.values()),
        *(host(name) for name in (A, B)),
        *(mirror(name) for name in ("g", "other")),
        *(guest(name) for name in ("g", "other")),
    ]


def key(raw: Mapping[str, Any]) -> tuple[str, str]:
    return raw["kind"], raw["metadata"]["name"]


# -- places


def places(value: Any, here: Place = ()) -> Iterator[Place]:
    """Every place within a value, the value itself included."""
    yield here
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from places(inner, (*here, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from places(inner, (*here, index))


def replaced(raw: Raw, place: Place, value: Any) -> Raw:
    """A copy of the object with this value in that place; GONE takes the place away."""
    made = copy.deepcopy(raw)
    inner: Any = made
    for part in place[:-1]:
        inner = inner[part]
    if value is GONE:
        del inner[place[-1]]
    else:
        inner[place[-1]] = copy.deepcopy(value)
    return made


def spoilable(raw: Raw) -> list[Place]:
    """The places that a user or a program may write: all of spec and of status."""
    parts = (part for part in ("spec", "status") if part in raw)
    return [place for part in parts for place in places(raw[part], (part,))]


def any_place(raw: Raw, part: str = "") -> st.SearchStrategy[Place]:
    """Any place of the object, or of its ``part``."""
    return st.sampled_from([p for p in spoilable(raw) if not part or p[0] == part])


@st.composite
def spoiled(draw: st.DrawFn, raw: Raw, times: int = 2) -> Raw:
    """The object with up to ``times`` places replaced by anything, and perhaps odd metadata."""
    made = copy.deepcopy(raw)
    for _ in range(draw(st.integers(1, times))):
        there = spoilable(made)
        if there:
            made = replaced(made, draw(st.sampled_from(there)), draw(anything))
    if draw(st.booleans()):
        field = draw(st.sampled_from(["annotations", "labels"]))
        known = draw(st.sampled_from([LAST_APPLIED, "tandem.dev/host", "app"]))
        made["metadata"][field] = {known: draw(notes), draw(st.text(max_size=5)): draw(notes)}
    return made
