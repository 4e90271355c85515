"""The back end on two real kernels: one slot is a DRBD resource of its own at both hosts of a lab.

A link is cut in the lab's bridge, between the two addresses of the slot and in one direction or
both, so that many slots share the hosts. A crash keeps exactly what the slot's volume holds at
that moment and throws everything else away; ``WholeHosts`` really ends the host instead. Called by
``__main__`` and by the lab's test.
"""

import json
import queue
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from conformance.language import ANSWERED, SIDES, Command, Played, Seen, Side, play
from tandem_lab.lab import Lab
from tandem_lab.namespace import connect, namespace_path
from tandem_lab.settings import SOURCE_DIR
from tandem_lab.shell import run
from tandem_lab.site_host import WAIT_BOOTED, SiteHost
from tandem_lab.topology import OUT_OF_BAND

PORT = 7300
INSIDE = "/opt/tandem/src/tests"
PID_FILE = "/run/conformance.pid"
LOG = "/site/log/conformance.log"
MAX_SLOTS = 24
REQUEST_TIMEOUT_S = 90.0
START_TIMEOUT_S = 30.0
POLL_S = 0.15
QUIET_S = 0.8
SETTLE_LIMIT_S = 45.0
# A handshake that fails is tried again for ever: this long, and the state is what it is. 9 tries
# every three seconds, and may be busy with one for five and more.
JOIN_LIMIT_S = 25.0

TABLE = """
table bridge conformance {
    set cut { type ipv4_addr . ipv4_addr; }
    chain forward {
        type filter hook forward priority 0;
        ip saddr . ip daddr @cut drop
    }
}
"""
STANDALONE = frozenset({"StandAlone"})
SOURCES = frozenset({"SyncSource", "PausedSyncS", "WFBitMapS", "StartingSyncS"})
TARGETS = frozenset({"SyncTarget", "PausedSyncT", "WFBitMapT", "StartingSyncT", "WFSyncUUID"})
CONNECTED = SOURCES | TARGETS | {"Connected"}
STEADY = frozenset({"StandAlone", "WFConnection", "Connected", "PausedSyncS", "PausedSyncT"})

assert SOURCE_DIR.joinpath("tests/conformance/host_server.py").exists()


class Channel:
    """One connection to a host's server, for one slot."""

    def __init__(self, lab: Lab, host: SiteHost, slot: int) -> None:
        address = (OUT_OF_BAND.address(host.spec), PORT)
        self._socket = connect(lab.settings.namespace, address, 5.0)
        self._socket.settimeout(REQUEST_TIMEOUT_S)
        self._lines = self._socket.makefile("rw")
        self._slot = slot

    def ask(self, method: str, *arguments: object) -> Any:
        request = {"slot": self._slot, "do": method, "arguments": arguments}
        self._lines.write(json.dumps(request) + "\n")
        self._lines.flush()
        answer = json.loads(self._lines.readline())
        if "error" in answer:
            raise RuntimeError(f"slot {self._slot}: {method}{arguments}: {answer['error']}")
        return answer["ok"]

    def close(self) -> None:
        self._socket.close()


def start_servers(lab: Lab) -> None:
    """In every host, and the table that cuts are written into."""
    _nft(lab, TABLE)
    for host in lab.hosts:
        start_server(lab, host)


def start_server(lab: Lab, host: SiteHost) -> None:
    stop_old = f"old=$(cat {PID_FILE} 2>/dev/null) && kill -9 $old || true"
    program = f"env PYTHONPATH={INSIDE} python3 -S -m conformance.host_server {PORT}"
    start = f"setsid {program} >>{LOG} 2>&1 </dev/null & echo $! >{PID_FILE}"
    host.shell(f"{stop_old}; {start}")
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            Channel(lab, host, 0).close()
            return
        except OSError:
            if time.monotonic() > deadline_s:
                said = Path(host.share, "log/conformance.log").read_text()
                raise RuntimeError(f"{host.name}: no server:\n{said}") from None
            time.sleep(0.1)


def _nft(lab: Lab, commands: str) -> None:
    inside = ["nsenter", f"--net={namespace_path(lab.settings.namespace)}", "nft", "-f", "-"]
    run(inside, stdin=commands)


class Kernels:
    """One slot."""

    def __init__(self, lab: Lab, slot: int) -> None:
        assert 1 <= slot <= MAX_SLOTS
        self.lab, self.slot = lab, slot
        self.hosts = dict(zip(SIDES, lab.hosts[:2], strict=True))
        self.addresses = {"a": f"198.51.100.{100 + 2 * slot}", "b": f"198.51.100.{101 + 2 * slot}"}
        self.channels: dict[str, Channel] = {}
        self._both = ThreadPoolExecutor(2)
        for side in SIDES:
            self._open(side)
        self.begin()

    def _open(self, side: str) -> None:
        other = "b" if side == "a" else "a"
        self.channels[side] = Channel(self.lab, self.hosts[side], self.slot)
        self.channels[side].ask("slot", self.addresses[side], self.addresses[other])

    def begin(self) -> None:
        """New and empty, whatever was before."""
        self.cuts: set[str] = set()
        self.policies = dict.fromkeys(SIDES, "1")
        self.two_primaries = dict.fromkeys(SIDES, "no")
        self.off: set[str] = set()
        self.numbers = 0
        self.keys: list[tuple[str, str]] = []
        self.lost: dict[str, str] = {}
        self._apply_cuts()
        list(self._both.map(lambda side: self.channels[side].ask("reset"), SIDES))
        for side in SIDES:
            self.channels[side].ask("policy", "1")

    # -- doing

    def do(self, command: Command) -> None:
        side, verb, argument = command.side, command.verb, command.argument
        if verb in ("cut", "heal"):
            ways = {argument} if argument else {"a>b", "b>a"}
            self.cuts = self.cuts | ways if verb == "cut" else self.cuts - ways
            self._apply_cuts()
        elif verb == "boot":
            if side in self.off:
                self.boot(side)
        elif side in self.off:
            self._refused(verb)
        elif verb == "crash":
            self.crash(side)
        elif verb in ANSWERED:
            self.keys.append((side, f"{len(self.keys) + 1}"))
            if verb == "two-primaries":
                self.two_primaries[side] = argument
            self.channels[side].ask("command", self.keys[-1][1], verb, argument)
        elif verb == "write":
            self.numbers += 1
            self.channels[side].ask("write_by_process" if argument else "write", self.numbers)
        elif verb == "handler":
            self.policies[side] = argument
            self.channels[side].ask("policy", argument)
        elif verb == "answer":
            self.channels[side].ask("answer", argument)
        else:
            self.channels[side].ask(verb.replace("-", "_"))

    def _refused(self, verb: str) -> None:
        """Nothing can be done at a host that is off; every back end counts it the same way."""
        if verb in ANSWERED:
            self.keys.append(("", "off"))
        elif verb == "write":
            self.numbers += 1
            self.lost[str(self.numbers)] = "failed"

    def crash(self, side: str) -> None:
        look = self.channels[side].ask("look")
        self.off.add(side)
        self._apply_cuts()
        self.channels[side].ask("crash")
        self._forget(side, look)

    def _forget(self, side: str, look: Mapping[str, Any]) -> None:
        for number, state in look["writes"].items():
            self.lost[number] = "lost" if state == "pending" else state
        for index, (where, key) in enumerate(self.keys):
            if where == side:
                code = look["commands"].get(key)
                self.keys[index] = ("", "lost" if code is None else _class(code))

    def boot(self, side: str) -> None:
        self.channels[side].ask("boot")
        self.off.discard(side)
        self._apply_cuts()

    def _apply_cuts(self) -> None:
        cut = {"a>b", "b>a"} if self.off else self.cuts
        a, b = self.addresses["a"], self.addresses["b"]
        commands = []
        for way, pair in (("a>b", f"{a} . {b}"), ("b>a", f"{b} . {a}")):
            # Deleting what is not there is an error; adding what is there is none.
            commands.append(f"add element bridge conformance cut {{ {pair} }}\n")
            if way not in cut:
                commands.append(f"delete element bridge conformance cut {{ {pair} }}\n")
        _nft(self.lab, "".join(commands))

    # -- looking

    def settle(self) -> Seen:
        began_s = quiet_since_s = time.monotonic()
        before: object = None
        while True:
            looks = self._looks()
            now_s = time.monotonic()
            if looks != before:
                before, quiet_since_s = looks, now_s
            waited_s = now_s - began_s
            settled = now_s - quiet_since_s >= QUIET_S and not self._moving(looks, waited_s)
            if settled or waited_s > SETTLE_LIMIT_S:
                return self._seen(looks)
            time.sleep(POLL_S)

    def _looks(self) -> dict[str, dict[str, Any]]:
        on = [side for side in SIDES if side not in self.off]
        return dict(zip(on, self._both.map(self._look, on), strict=True))

    def _look(self, side: str) -> dict[str, Any]:
        look: dict[str, Any] = self.channels[side].ask("look")
        return look

    def _moving(self, looks: Mapping[str, Mapping[str, Any]], waited_s: float) -> bool:
        """Whether something is bound to happen yet."""
        states = {side: _fields(look["line"]).get("cs", "") for side, look in looks.items()}
        if any(state and state not in STEADY for state in states.values()):
            return True
        joined = [side for side, state in states.items() if state in CONNECTED]
        if len(joined) == 1 or (joined and self.cuts):
            return True
        both_try = [state for state in states.values() if state == "WFConnection"]
        if len(both_try) == 2 and not self.cuts and waited_s < JOIN_LIMIT_S:
            return True
        if any(map(self._lags, looks.values())) and waited_s < JOIN_LIMIT_S:
            return True
        held = any(look["held"] for look in looks.values())
        running = any(None in look["commands"].values() for look in looks.values())
        answering = any(look["asked"] > look["answered"] for look in looks.values())
        return (running or answering) and not held and waited_s < SETTLE_LIMIT_S

    @staticmethod
    def _lags(look: Mapping[str, Any]) -> bool:
        """A write that nothing holds back, or a Primary that has just frozen."""
        fields = _fields(look["line"])
        frozen = fields.get("flags", "").startswith("s")
        alone = fields.get("cs") in ("WFConnection", "StandAlone")
        not_asked = frozen and alone and fields["ro"].startswith("Primary") and not look["asked"]
        return not_asked or ("pending" in look["writes"].values() and not frozen)

    def _seen(self, looks: Mapping[str, Mapping[str, Any]]) -> Seen:
        sides = {side: str(self._side(side, looks.get(side))) for side in SIDES}
        writes = dict(self.lost)
        for look in looks.values():
            writes.update(look["writes"])
        numbered = {n: writes[str(n)] for n in range(1, self.numbers + 1)}
        return Seen(sides["a"], sides["b"], numbered, [self._result(looks, *k) for k in self.keys])

    def _result(self, looks: Mapping[str, Mapping[str, Any]], side: str, key: str) -> str:
        if not side:
            return key
        code = looks[side]["commands"][key]
        return "running" if code is None else _class(code)

    def _side(self, side: str, look: Mapping[str, Any] | None) -> Side:
        if look is None:
            return Side(power="off")
        asked: int = look["asked"]
        fields = _fields(look["line"])
        if not fields:
            return Side(asked=asked)
        role, peer_role = fields["ro"].split("/")
        disk, peer_disk = fields["ds"].split("/")
        frozen = fields["flags"].startswith("s")
        return Side(
            role=role,
            peer_role=peer_role,
            connection=_connection(fields["cs"]),
            disk=disk,
            peer_disk=peer_disk,
            suspended=self.channels[side].ask("suspended") if frozen else "",
            asked=asked,
        )

    def survivors(self) -> Mapping[str, Sequence[int]]:
        """A half-copied side counts as nothing."""
        return {side: self.channels[side].ask("data") for side in SIDES}


class WholeHosts(Kernels):
    """A crash ends the host itself, and with it everything on it: one slot at a time."""

    def crash(self, side: str) -> None:
        look = self.channels[side].ask("look")
        self.off.add(side)
        self.hosts[side].kill()
        self.channels[side].close()
        self._asked[side] = look["asked"]
        self._forget(side, look)
        for number, state in look["writes"].items():
            self.lost[number] = "lost" if state == "pending" else state

    def boot(self, side: str) -> None:
        host = self.hosts[side]
        host.start(wait=False)
        host.wait_agent()
        host.run(WAIT_BOOTED).check()
        start_server(self.lab, host)
        self._open(side)
        self.channels[side].ask(
            "booted", self._asked[side], self.policies[side], self.two_primaries[side]
        )
        self.off.discard(side)

    def begin(self) -> None:
        self._asked = dict.fromkeys(SIDES, 0)
        for side in sorted(getattr(self, "off", ())):
            self.boot(side)
        super().begin()


class Slots:
    """Several of them; a sequence is played on the next one that is free."""

    def __init__(self, lab: Lab, count: int, *, whole_hosts: bool = False) -> None:
        self._free: queue.Queue[Kernels] = queue.Queue()
        kind = WholeHosts if whole_hosts else Kernels
        for number in range(1, count + 1):
            self._free.put(kind(lab, number))

    def play(self, steps: Sequence[str]) -> Played:
        slot = self._free.get()
        try:
            slot.begin()
            return play(slot, steps)
        finally:
            self._free.put(slot)


def _fields(line: str) -> dict[str, str]:
    """``cs:… ro:…/… ds:…/… C r-----``, by name. There is no protocol while it stands alone."""
    words = line.split()
    found = {name: value for name, colon, value in (w.partition(":") for w in words) if colon}
    if words:
        found["flags"] = words[-1]
    return found


def _connection(word: str) -> str:
    if word in SOURCES:
        return "SyncSource"
    if word in TARGETS:
        return "SyncTarget"
    return word if word in CONNECTED | STANDALONE else "Connecting"


def _class(code: int) -> str:
    return "ok" if code == 0 else "refused"
