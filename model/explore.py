"""Explore the Spin models: what must hold holds in every state, what is weakened breaks.

`make model` calls it, and one test with --quick; --long adds what takes minutes. It translates
a model with `spin`, compiles the verifier with gcc in a temporary directory, runs it, and prints a
line per configuration. It never changes a model and judges by the verifier's own report alone: a
search that did not finish, for want of depth, memory or time, is a failure, and so is a weakened
variant in which nothing is found.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

MODELS = Path(__file__).resolve().parent
TOOL_TIMEOUT_S = 600
SEARCH_TIMEOUT_S = 1800
MEMORY_MIB = 3500  # each; two may run at once
COMPACT_MEMORY_MIB = 7000
DEPTH_STEPS = 8_000_000


@dataclass(frozen=True)
class Configuration:
    """One model with its flags. `breaks` says that an error must be found."""

    name: str
    model: str
    flags: tuple[str, ...] = ()
    breaks: bool = False
    quick: bool = False
    long: bool = False
    compact: bool = False  # of each state a hash of 4 bytes is kept: two may be taken for one
    deep: bool = False  # what breaks is looked for depth first: the shortest path is too far


@dataclass(frozen=True)
class Result:
    """What the verifier reported. `depth` is the shortest path's for an error."""

    configuration: Configuration
    errors: int
    complete: bool
    depth: int
    states: int
    memory_mib: float
    elapsed_s: float
    report: str
    trail: str

    @property
    def good(self) -> bool:
        if self.configuration.breaks:
            return self.errors > 0
        return self.complete and self.errors == 0


EQUAL_CLOCKS = ("SLOW=1", "FAST=1")
# Equal clocks and the shortest times: enough for an error that is not about the waits' lengths.
PAUSES = ("PAUSE", "R=6", "Q=2", "F=1", "W=1", "D=4")
SHORTEST = ("R=1", "Q=1", "F=1", "W=1", "D=1", *EQUAL_CLOCKS)
SMALL = ("PAUSE", *SHORTEST)


def holds(
    model: str, name: str, *flags: str, long: bool = False, compact: bool = False
) -> Configuration:
    return Configuration(name, model, flags, long=long, compact=compact)


def weak(
    model: str, name: str, *flags: str, quick: bool = False, deep: bool = False
) -> Configuration:
    """A rule left out, by the flag of that name."""
    return Configuration(name, model, (f"WEAK_{name.upper()}", *flags), True, quick, deep=deep)


def outside(model: str, name: str, *flags: str) -> Configuration:
    """It must break: an assumption given up (or it would be none), or "this is never reached"."""
    return Configuration(name, model, flags, True)


# One fault is enough for most of what is weakened; any number takes eight minutes.
ONE_MIGRATION = ("MIGRATING", "FAULTS=1")

SAFETY = (
    holds("authority", "links, crashes: any number"),
    holds("authority", "... and disk failures: any number", "DISK_FAILURES"),
    holds("authority", "... and graceful leaving: any number", "LEAVING"),
    holds("authority", "... and grants withdrawn: any number", "WITHDRAWING"),
    holds("authority", "numbered: one swap, faults: any number", "EPOCHS", "EPOCH_LIMIT=2"),
    holds(
        "authority",
        "withdrawn, and disk failures: any number",
        "WITHDRAWING",
        "DISK_FAILURES",
        long=True,
    ),
    holds(
        "authority", "restored: two swaps, faults: any number", "BACKUP", "EPOCH_LIMIT=3", long=True
    ),
    holds("authority", "live migration, one fault", *ONE_MIGRATION),
    holds(
        "authority",
        "live migration and disk failures, two faults",
        "MIGRATING",
        "DISK_FAILURES",
        "FAULTS=2",
        long=True,
        compact=True,
    ),
    holds("authority", "live migration, faults: any number", "MIGRATING", long=True, compact=True),
    weak("authority", "no_marker_at_boot", quick=True),
    weak("authority", "marker_cleared_early", quick=True),
    weak("authority", "promote_without_claim", quick=True),
    weak("authority", "claim_marked"),
    weak("authority", "claim_ineligible"),
    weak("authority", "promotion_unconfirmed"),
    weak("authority", "promotion_peer_not_out"),
    weak("authority", "restore_queries_first"),
    weak("authority", "restore_by_anybody"),
    weak("authority", "grant_without_cas"),
    weak("authority", "grant_not_owner"),
    weak("authority", "old_grant_suffices"),
    weak("authority", "unknown_is_granted"),
    weak("authority", "late_result_counts"),
    weak("authority", "protocol_a"),
    weak("authority", "disk_fails_at_resync_end", "DISK_FAILURES"),
    weak("authority", "leaves_without_cas", "LEAVING"),
    weak("authority", "disconnects_without_cas", "LEAVING"),
    weak("authority", "no_marker_at_stop", "LEAVING"),
    weak("authority", "ahead_by_the_authority", "DISK_FAILURES"),
    weak("authority", "withdraws_what_was_used", "WITHDRAWING"),
    weak("authority", "epoch_not_remembered", "BACKUP"),
    outside("authority", "live migration: it arrives", "MIGRATING", "ARRIVES", "FAULTS=1"),
    weak("authority", "resumed_before_demoted", *ONE_MIGRATION, quick=True),
    weak("authority", "demoted_for_another_reason", *ONE_MIGRATION),
    weak("authority", "handed_over_while_it_executes", *ONE_MIGRATION),
    weak("authority", "secondary_in_any_session", *ONE_MIGRATION),
    weak("authority", "session_by_looks", *ONE_MIGRATION),
    weak("authority", "what_is_shown_first_counts", *ONE_MIGRATION),
    weak("authority", "told_before_it_promoted", *ONE_MIGRATION),
    weak("authority", "success_is_forgotten", "MIGRATING", "FAULTS=2"),
    weak("authority", "claims_what_it_has_sent", *ONE_MIGRATION),
    weak("authority", "sent_though_it_is_over", *ONE_MIGRATION),
    weak("authority", "end_not_noted_first", "MIGRATING", "FAULTS=2", deep=True),
    weak("authority", "takeover_resumes", *ONE_MIGRATION),
    weak("authority", "owns_it_by_whatever", *ONE_MIGRATION),
    weak("authority", "over_by_the_authority", *ONE_MIGRATION),
    weak("authority", "no_look_after_promotion", *ONE_MIGRATION),
    weak("authority", "promoted_before_it_is_in_sync", "MIGRATING", "FAULTS=2"),
    weak("authority", "left_though_it_went_on_alone", "MIGRATING", "FAULTS=2"),
    outside("authority", "restored, and one has not seen more", "BACKUP", "ONE_HAS_NOT_SEEN"),
)
UNIQUENESS = (
    holds("leases", "no pause of the host"),
    holds("leases", "pauses: any number", *PAUSES),
    holds("leases", "pauses, equal clocks", *SMALL),
    weak("leases", "lease_of_the_takers_spec"),
    weak("leases", "no_lease_wait"),
    weak("leases", "no_link_wait"),
    weak("leases", "link_wait_without_detection"),
    weak("leases", "link_wait_without_freshness"),
    weak("leases", "no_watchdog"),
    weak("leases", "counted_from_the_answer"),
    weak("leases", "query_from_events"),
    weak("leases", "fenced_before_stopped", quick=True),
    weak("leases", "proof_not_compared"),
    weak("leases", "old_claim_starts"),
    weak("leases", "lapse_not_affirmed", *SMALL),
    weak("leases", "lapse_affirmed_by_a_read", *SMALL),
    weak("leases", "affirmed_before_a_heartbeat", *SMALL),
    weak("leases", "resumed_by_anybody", *SMALL),
    holds("leases", "killed, and held", "HELD"),
    holds("leases", "killed, and held, pauses, equal clocks", "HELD", *SMALL),
    weak("leases", "fed_once_killed", "HELD", *SHORTEST),
    weak("leases", "seen_of_an_earlier_guest", "HELD", *SHORTEST),
    weak("leases", "started_beside_a_held_one", "HELD", *SHORTEST),
    outside("leases", "residue of F + W", *SMALL, "RESIDUE=2"),
    outside("leases", "residue from waking up alone", "RESIDUE_FROM_WAKING_UP_ALONE", *SMALL),
    outside(
        "leases", "R less than D + Q", "PAUSE", "R=1", "Q=2", "F=1", "W=1", "D=4", *EQUAL_CLOCKS
    ),
    outside("leases", "clock stands still, too", "CLOCK_STANDS_STILL_TOO", *SMALL),
    outside("leases", "short pauses", "SHORT_PAUSES", *SMALL),
    outside("leases", "clock ratio 2", "SLOW=1", "FAST=2", "R=6", "Q=1", "F=1", "W=1", "D=1"),
)
# Waits that are exact for equal clocks: those of the ratio 3/2 would hide what these must show.
ACKNOWLEDGED = ("ACKNOWLEDGED", *SHORTEST, "L=4", "LINK_WAIT=5")
MIXED = ("MIXED", "R=1", "Q=1", "F=1", "W=0", "D=1", *EQUAL_CLOCKS, "L=3", "LINK_WAIT=4")
AT_ONCE = (*MIXED, "CLOSES_AT_ONCE")
MIXED_PAUSES = (
    *("MIXED", "CLOSES_AT_ONCE", "PAUSE", "R=2", "Q=1", "F=1", "W=0", "D=1"),
    *(*EQUAL_CLOCKS, "L=4", "LINK_WAIT=4"),
)
LAST_PACKET = (
    holds("leases", "either way dies alone", "EACH_WAY"),
    holds("leases", "either way dies alone, pauses", "EACH_WAY", *PAUSES),
    holds(
        "leases",
        "last packet",
        *("ACKNOWLEDGED", "HALF_CONNECTED", "R=3", "Q=2", "F=1", "W=1", "D=4"),
    ),
    holds("leases", "last packet, any number of looks", "MANY_LOOKS", *ACKNOWLEDGED),
    holds("leases", "last packet, pauses of any length", "PAUSE", "SHORT_PAUSES", *ACKNOWLEDGED),
    holds(
        "leases",
        "last packet, asked again before promotion",
        *("PAUSE", "SHORT_PAUSES", "AGAIN_BEFORE_PROMOTION", "RESIDUE=2", *ACKNOWLEDGED),
    ),
    holds("leases", "last packet, an old taker", "OLD_TAKER", "CLOSES_AT_ONCE", *ACKNOWLEDGED),
    holds("leases", "last packet and look, an old taker", "OLD_TAKER", "ALSO_FRESH", *ACKNOWLEDGED),
    holds("leases", "last packet, by heartbeats", *AT_ONCE),
    holds("leases", "last packet and look, by heartbeats", *MIXED, "ALSO_FRESH"),
    holds("leases", "last packet, by heartbeats, pauses", *MIXED_PAUSES, long=True),
    weak("leases", "counted_from_the_acknowledgement", *ACKNOWLEDGED),
    weak("leases", "proven_by_any_packet", *ACKNOWLEDGED),
    weak("leases", "socket_not_compared", *ACKNOWLEDGED),
    weak("leases", "vanished_as_of_its_last_receipt", *ACKNOWLEDGED),
    weak("leases", "open_as_of_its_last_receipt", *ACKNOWLEDGED),
    weak("leases", "from_the_packet_whatever_the_lease_says", *AT_ONCE),
    weak("leases", "relied_on_before_it_is_confirmed", *AT_ONCE),
    weak("leases", "back_before_it_is_confirmed", *AT_ONCE),
    weak("leases", "a_late_renewal_lands", *AT_ONCE),
    outside("leases", "an old taker, and a socket that stays", "OLD_TAKER", *ACKNOWLEDGED),
    outside(
        "leases",
        "last packet, residue of F + W",
        *("PAUSE", "SHORT_PAUSES", "RESIDUE=2", *ACKNOWLEDGED),
    ),
    outside(
        "leases",
        "asked again, residue of less",
        *("PAUSE", "AGAIN_BEFORE_PROMOTION", "RESIDUE=1", *ACKNOWLEDGED),
    ),
    outside(
        "leases",
        "one end is connected",
        *("EACH_WAY", "HALF_CONNECTED", *SHORTEST, "L=4", "LINK_WAIT=5"),
    ),
    holds("leases", "later_bytes_prove", "WEAK_LATER_BYTES_PROVE", *ACKNOWLEDGED),
)
HELD = (
    holds("killed", "what is seen of a killed process"),
    weak("killed", "sent_is_enough", quick=True),
    weak("killed", "running_counts"),
    weak("killed", "held_is_enough"),
    weak("killed", "leader_alone"),
    weak("killed", "no_evidence"),
    weak("killed", "listed_before"),
    weak("killed", "not_counted"),
    outside("killed", "it is seen", "NEVER_SEEN"),
    holds("fence_agent", "a fence agent's word"),
    *(weak("fence_agent", name) for name in ("asked_early", "asked_while_linked")),
    *(weak("fence_agent", name) for name in ("link_not_waited_for", "word_of_an_earlier_boot")),
    weak("fence_agent", "believed_without_status", quick=True),
    outside("fence_agent", "its word is about another machine", "ANOTHER_MACHINE"),
    outside("fence_agent", "it is taken over from", "NEVER_TAKEN"),
)
# Each leaves out a condition that the rules have and that these checks do not need.
UNNEEDED = tuple(
    holds("authority", flag.lower(), f"WEAK_{flag}")
    for flag in ("RESTORE_IGNORES_MARKER", "CLAIM_FROM_STANDALONE", "NO_MARKER_LATER")
) + tuple(
    holds("authority", flag.lower(), *ONE_MIGRATION, f"WEAK_{flag}")
    for flag in ("TWO_OUTLIVE", "TWO_BEFORE_THE_SWAP", "PROMOTED_WITHOUT_MIGRATING")
)
CONFIGURATIONS = SAFETY + UNIQUENESS + LAST_PACKET + HELD + UNNEEDED


def run(command: list[str], folder: Path) -> str:
    """The output of a tool that has to succeed."""
    done = subprocess.run(
        command, cwd=folder, timeout=TOOL_TIMEOUT_S, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return done.stdout


def search(folder: Path) -> str:
    """The verifier's report. It ends without its last lines if memory or time ran out."""
    command = ["./pan", f"-m{DEPTH_STEPS}", "-w24"]
    report = folder / "report"
    with report.open("w") as output:
        try:
            subprocess.run(
                command,
                cwd=folder,
                timeout=SEARCH_TIMEOUT_S,
                stdout=output,
                stderr=output,
                check=False,
            )
        except subprocess.TimeoutExpired:
            output.write("Search not completed: out of time")
    return report.read_text()


def number(pattern: str, report: str) -> float:
    found = re.search(pattern, report)
    return float(found.group(1)) if found else 0


def defines(configuration: Configuration) -> list[str]:
    return [f"-D{flag}" for flag in configuration.flags]


def build(configuration: Configuration, folder: Path) -> None:
    """Compile the verifier: depth first to see all, breadth first for a shortest error."""
    source = f"{configuration.model}.pml"
    for model in MODELS.glob("*.pml"):  # one may include another
        (folder / model.name).write_text(model.read_text())
    run(["spin", *defines(configuration), "-a", source], folder)
    breadth_first = ["-DBFS"] if configuration.breaks and not configuration.deep else []
    memory = (
        ["-DHC4", f"-DMEMLIM={COMPACT_MEMORY_MIB}"]
        if configuration.compact
        else [f"-DMEMLIM={MEMORY_MIB}"]
    )
    options = ["-w", "-O2", "-DSAFETY", "-DNOREDUCE", *memory, *breadth_first]
    run(["gcc", *options, "-o", "pan", "pan.c"], folder)


def trail(configuration: Configuration, folder: Path) -> str:
    command = ["spin", *defines(configuration), "-t", f"{configuration.model}.pml"]
    text = run(command, folder)
    return "\n".join(line.rstrip() for line in text.splitlines() if line.strip())


def explore(configuration: Configuration) -> Result:
    """One configuration, from its source to the verifier's report."""
    with tempfile.TemporaryDirectory(prefix="tandem-model-") as name:
        folder = Path(name)
        build(configuration, folder)
        began_s = time.monotonic()
        report = search(folder)
        elapsed_s = time.monotonic() - began_s
        errors = int(number(r"errors: (\d+)", report))
        return Result(
            configuration,
            errors,
            complete="errors:" in report
            and not re.search("Search not completed|max search depth|out of memory", report),
            depth=int(number(r"depth reached (\d+)", report)),
            states=int(number(r"(\d+) states, stored", report)),
            memory_mib=number(r"([\d.]+)\s+total actual memory", report),
            elapsed_s=elapsed_s,
            report=report,
            trail=trail(configuration, folder) if errors else "",
        )


def line(result: Result) -> str:
    verdict = f"errors: {result.errors}" if result.complete or result.errors else "NOT FINISHED"
    wanted = "must break" if result.configuration.breaks else "must hold"
    return (
        f"{result.configuration.model:<10} {result.configuration.name:<44} {wanted:<11}"
        f"{verdict:<13}{result.states:>10} states  depth {result.depth:>7}"
        f"  {result.memory_mib:>6.0f} MiB {result.elapsed_s:>6.1f} s"
        f"  {'ok' if result.good else 'FAILED'}"
    )


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="only these configurations")
    parser.add_argument("--quick", action="store_true", help="the few that take seconds")
    parser.add_argument("--long", action="store_true", help="also what takes minutes")
    parser.add_argument("--trail", action="store_true", help="print the steps to each error")
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args(arguments)
    chosen = [
        configuration
        for configuration in CONFIGURATIONS
        if (configuration.quick or not asked.quick)
        and (asked.long or asked.names or not configuration.long)
        and (not asked.names or configuration.name in asked.names)
    ]
    if not chosen:
        names = ", ".join(configuration.name for configuration in CONFIGURATIONS)
        parser.error(f"no such configuration; there are: {names}")
    failed = 0
    with ThreadPoolExecutor(asked.jobs) as pool:
        for result in pool.map(explore, chosen):
            print(line(result), flush=True)
            if result.trail and (asked.trail or not result.configuration.breaks):
                print(result.trail)
            failed += not result.good
    print(f"{len(chosen) - failed} of {len(chosen)} as they must be")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
