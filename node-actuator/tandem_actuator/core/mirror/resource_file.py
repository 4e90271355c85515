"""Writes DRBD's configuration for a mirror, for 8.4 and 9. Pure: values in, text out.

Nothing in the text promotes or starts anything, and nothing resolves a split brain by itself:
that is the actuator's and a person's to decide. Called by ``assembly`` for ``Driver``, which
hands the text to ``ports.Drbd.configure``.

Choices that are not obvious:

- Hosts are written as ``floating ADDRESS``: drbdadm then knows its own side by the address, so
  that a Host object need not be called like the machine. Both versions take it.
- ``fencing`` stands in ``disk`` on 8.4 and in ``net`` on 9; in the wrong place it is an error.
- On 9 the connection is given a name (``_name``). By itself drbdadm 9.22 calls it by the peer's
  address and port, and DRBD refuses the colon from 9.2 on (``strict_names``).
- On 9 nothing but the authority decides: no quorum, which would freeze or fail writes beside
  fencing, and no promotion by whoever opens the device. Both are read back from the kernel
  (``adapters.drbd``).
- ``twopc-timeout`` is as short as 9 takes it: while a change of state waits for a peer that does
  not answer, by default for 30 s, every other command waits, too.
- No ``unfence-peer``: the way back to Mirrored is rule 7, and the kernel calls that handler at
  moments that prove nothing.
- No time limit for handlers, which would be ``cmd-timeout-long`` in GLOBAL_FILE: the fence-peer
  handler of a frozen Primary asks until there is an answer. If drbdadm ended it (exit 20), the
  Primary would stay frozen for good: the kernel does not ask again by itself. The file is the
  administrator's, so a limit in it is warned of and not taken away. The actuator bounds the handler
  of a promotion itself.
"""

from collections.abc import Mapping

from tandem_api.kinds.mirror import DeviceNumbers, Mirror, Protocol, Replica
from tandem_api.meta import Quantity
from tandem_api.timing import DrbdTimers

GLOBAL_FILE = "global_common.conf"
DEFAULT_RESYNC_RATE = Quantity("110Mi")
KIB = 1024
# Resync: drbd.conf(5), c-*. The controller plans 2 s ahead and keeps this much on its way, enough
# for a disk and a long link to stay busy. The kernel's own values (start at 250 KiB/s, 50 KiB on
# its way) took twice as long in the lab.
C_PLAN_AHEAD_TENTHS_S = 20
C_FILL_TARGET = "1M"
C_MIN_RATE = "10M"
RESYNC_RATE_START = "30M"

Block = list[str]

OPTIONS_9: Block = ["auto-promote no;", "quorum off;", "twopc-timeout 50;"]
CONNECTION_9 = "peer"


def render(
    mirror: Mirror,
    addresses: Mapping[str, str],
    numbers: DeviceNumbers,
    timers: DrbdTimers,
    *,
    version_major: int,
    fence_peer: str,
    two_primaries: bool = False,
) -> str:
    """The resource file of a mirror.

    ``addresses``: replication address by host name. ``fence_peer``: the command that DRBD calls.
    ``two_primaries``: a guest is being sent from one to the other as it runs.
    The same values always give the same text, on both hosts but for ``fence_peer``.

    Raises:
        ValueError: a host has no address, a volume no device number, or the command cannot be
            written into the file.
    """
    if '"' in fence_peer or "\n" in fence_peer:
        raise ValueError(f"fence-peer command {fence_peer!r} cannot be quoted")
    new = version_major >= 9
    fencing = [f"fencing {_fencing(mirror.spec.protocol)};"]
    net_9 = [*fencing, f"_name {CONNECTION_9};"]
    lines = [
        f"# {mirror.key}, written by the Tandem node actuator. Do not edit: it is replaced.",
        f'resource "{mirror.drbd_name}" {{',
        *_block("options", ["on-no-data-accessible suspend-io;", *(OPTIONS_9 if new else [])]),
        *_block("net", [*_net(mirror, timers, two_primaries), *(net_9 if new else [])]),
        *_block("disk", [*_disk(mirror), *([] if new else fencing)]),
        *_block("handlers", [f'fence-peer "{fence_peer}";']),
        *_volumes(mirror, numbers),
        *_hosts(mirror, addresses, numbers, new),
        "}",
    ]
    return "\n".join(lines) + "\n"


def _fencing(protocol: Protocol) -> str:
    """DRBD refuses to freeze with protocol A (its error 154): what it has acknowledged may be
    missing at the peer anyway. The handler is called all the same.
    """
    return "resource-only" if protocol is Protocol.A else "resource-and-stonith"


def _net(mirror: Mirror, timers: DrbdTimers, two_primaries: bool) -> Block:
    return [
        f"protocol {mirror.spec.protocol.value};",
        f"ping-int {timers.ping_int_s};",
        f"ping-timeout {timers.ping_timeout_ds};",
        f"timeout {timers.timeout_ds};",
        f"connect-int {timers.connect_int_s};",
        f"ko-count {timers.ko_count};",
        "after-sb-0pri disconnect;",
        "after-sb-1pri disconnect;",
        "after-sb-2pri disconnect;",
        "rr-conflict disconnect;",
        "on-congestion block;",
        f"allow-two-primaries {'yes' if two_primaries else 'no'};",
    ]


def _disk(mirror: Mirror) -> Block:
    rate = (mirror.spec.resync_rate_max or DEFAULT_RESYNC_RATE).bytes // KIB
    return [
        "on-io-error detach;",
        f"resync-rate {RESYNC_RATE_START};",
        f"c-plan-ahead {C_PLAN_AHEAD_TENTHS_S};",
        f"c-fill-target {C_FILL_TARGET};",
        f"c-min-rate {C_MIN_RATE};",
        f"c-max-rate {max(rate, 1)}k;",
    ]


def _volumes(mirror: Mirror, numbers: DeviceNumbers) -> Block:
    lines: Block = []
    for index, name in enumerate(mirror.volume_names):
        if name not in numbers.minors:
            raise ValueError(f"volume {name} has no device number")
        device = f"device minor {numbers.minors[name]};"
        lines += _block(f"volume {index}", [device, "meta-disk internal;"])
    return lines


def _hosts(
    mirror: Mirror, addresses: Mapping[str, str], numbers: DeviceNumbers, new: bool
) -> Block:
    """Sorted by name, so that a node id (9 keeps it in the metadata) never changes."""
    lines: Block = []
    for node_id, replica in enumerate(sorted(mirror.spec.replicas, key=lambda r: r.host)):
        if replica.host not in addresses:
            raise ValueError(f"host {replica.host} has no replication address")
        node = [f"node-id {node_id};"] if new else []
        inner = [*node, *_backing_devices(mirror, replica)]
        lines += _block(f"floating {_endpoint(addresses[replica.host], numbers.port)}", inner)
    return lines


def _backing_devices(mirror: Mirror, replica: Replica) -> Block:
    lines: Block = []
    for index, name in enumerate(mirror.volume_names):
        if name not in replica.devices:
            raise ValueError(f"volume {name} has no device on {replica.host} any more")
        lines += _block(f"volume {index}", [f'disk "{replica.devices[name]}";'])
    return lines


def _endpoint(address: str, port: int) -> str:
    return f"ipv6 [{address}]:{port}" if ":" in address else f"ipv4 {address}:{port}"


def _block(name: str, inner: Block) -> Block:
    """A named block, indented as one level inside the resource."""
    return [f"    {name} {{", *(f"    {line}" for line in _indented(inner)), "    }"]


def _indented(inner: Block) -> Block:
    # Lines of a nested block already carry their own first level.
    return [line if line.startswith("    ") else f"    {line}" for line in inner]
