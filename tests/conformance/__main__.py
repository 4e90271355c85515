"""``python -m conformance``: play sequences on simulated DRBD and on two real kernels.

    run "a primary; a write" "cut" …   one sequence on both, everything that is seen
    record FILE…                       play files on the kernels and write down what they do
    compare [FILE…]                    play files on both; without any, all named ones
    random --seeds 1..100 --slots 8    random sequences on both; the first difference, shrunk
    check FILE…                        the simulator alone, against what was recorded

Everything but ``check`` needs a lab of its own (TANDEM_LAB_DIR, TANDEM_LAB_NAMESPACE) and root. The
simulator plays the DRBD that its hosts run; TANDEM_DRBD_MODULES gives them another one than 8.4.
``--keep`` leaves the lab up, and uses it if it is. Exit 0: no difference; 1: some. ``compare``
plays what differs again alone: on a busy machine something may be looked at too early.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from conformance import recorded
from conformance.chance import draw, shrink
from conformance.kernels import Slots, start_servers
from conformance.language import Played, closest, difference
from conformance.simulated import ends_a_kernel, simulate
from sim.drbd.version import VERSIONS, Version
from tandem_lab.lab import Lab
from tandem_lab.settings import Settings

AGREES, UNSTEADY, DIFFERS = "agrees", "agrees at the second try", "differs"
Play = Callable[[Sequence[str]], Played]


def main() -> int:
    """Entry point."""
    arguments = _arguments()
    if arguments.what == "check":
        every = [file for major in VERSIONS for file in recorded.files(major=major)]
        return _check([Path(file) for file in arguments.words] or every)
    with _lab(keep=arguments.keep) as lab:
        whole = arguments.whole_hosts
        slots = Slots(lab, 1 if whole else arguments.slots, whole_hosts=whole)
        both = Both(slots.play, lab.hosts[0].drbd_version())
        print(f"DRBD {both.drbd}", flush=True)
        if arguments.what == "run":
            return _run(both, arguments.words)
        if arguments.what == "record":
            return _record(both, [Path(f) for f in arguments.words], arguments.slots)
        if arguments.what == "compare":
            named = recorded.files("named", both.version.major)
            files = [Path(f) for f in arguments.words] or named
            verdicts = compare(both, files, arguments.slots)
            if arguments.verdicts:
                Path(arguments.verdicts).write_text(json.dumps(verdicts))
            return 1 if DIFFERS in verdicts.values() else 0
        first, _, last = arguments.seeds.partition("..")
        seeds = range(int(first), int(last or first) + 1)
        return _random(both, seeds, arguments)


@dataclass(frozen=True)
class Both:
    """The kernels, which run this DRBD, and the simulator of it."""

    on_kernels: Play
    drbd: str

    @property
    def version(self) -> Version:
        return VERSIONS[int(self.drbd.split(".")[0])]

    def simulated(self, steps: Sequence[str], seed: int) -> Played:
        return simulate(steps, seed, self.version)

    def differ(self, steps: Sequence[str]) -> str | None:
        return closest(self.on_kernels(steps), self.simulated)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m conformance", description=__doc__)
    parser.add_argument("what", choices=("run", "record", "compare", "random", "check"))
    parser.add_argument("words", nargs="*", help="steps (run) or files (record, check)")
    parser.add_argument("--seeds", default="1..20", metavar="A..B")
    parser.add_argument("--slots", type=int, default=8, help="how many at once")
    parser.add_argument(
        "--whole-hosts", action="store_true", help="really end a host; one at a time"
    )
    parser.add_argument("--keep", action="store_true", help="leave the lab up")
    parser.add_argument("--keep-going", action="store_true", help="after a difference, too")
    parser.add_argument("--no-shrink", action="store_true")
    parser.add_argument(
        "--two-primaries", action="store_true", help="random sequences that begin with two"
    )
    parser.add_argument("--verdicts", metavar="FILE", help="what compare found, as JSON")
    parser.add_argument("--record", metavar="FOLDER", help="write down each random sequence")
    return parser.parse_intermixed_args()


@contextmanager
def _lab(*, keep: bool) -> Iterator[Lab]:
    lab = Lab(Settings.from_environment())
    with lab.exclusive(60.0):
        if not (keep and lab.is_up):
            lab.up(fresh=True)
            start_servers(lab)
        try:
            yield lab
        finally:
            if not keep:
                lab.down()


def show(played: Played) -> None:
    for step, seen in zip(played.steps, played.seen, strict=True):
        print(f"  {step}\n      a {seen.a}\n      b {seen.b}")
        print(f"      writes {dict(seen.writes)} results {' '.join(seen.results)}")
    print(f"  survive {dict(played.survive)}", flush=True)


def _run(both: Both, steps: Sequence[str]) -> int:
    real = both.on_kernels(steps)
    show(real)
    found = closest(real, both.simulated)
    print(found or "no difference")
    return 1 if found else 0


def _check(files: Sequence[Path]) -> int:
    found = 0
    for file in files:
        version = VERSIONS[recorded.major_of(file)]
        words = closest(recorded.load(file), partial(simulate, version=version))
        if words:
            found += 1
            print(f"{file}: {recorded.title_of(file)}\n{words}")
    print(f"{len(files)} sequences, {found} differ")
    return 1 if found else 0


def _record(both: Both, files: Sequence[Path], jobs: int) -> int:
    def record(file: Path) -> Path:
        played = both.on_kernels(recorded.steps_of(file))
        path = recorded.counterpart(file, both.version.major)
        title = recorded.title_of(path if path.exists() else file)
        recorded.save(path, title, played, both.drbd if both.version.major > 8 else "")
        return path

    with ThreadPoolExecutor(jobs) as pool:
        return _check(list(pool.map(record, files)))


def compare(both: Both, files: Sequence[Path], jobs: int) -> dict[str, str]:
    """A verdict for each file, by its stem. What differs is played again, one at a time."""
    verdicts: dict[str, str] = {}
    told: dict[Path, str] = {}
    with ThreadPoolExecutor(jobs) as pool:
        for file, words in zip(
            files, pool.map(both.differ, map(recorded.steps_of, files)), strict=True
        ):
            verdicts[file.stem] = AGREES
            if words:
                told[file] = words
            print(f"{file.stem}: {words or AGREES}", flush=True)
    for file in told:
        again = both.differ(recorded.steps_of(file))
        verdicts[file.stem] = DIFFERS if again else UNSTEADY
        print(f"{file.stem}, again, alone: {again or AGREES}", flush=True)
    differ = list(verdicts.values()).count(DIFFERS)
    print(f"{len(verdicts)} sequences, {differ} differ", flush=True)
    return verdicts


def _random(both: Both, seeds: range, arguments: argparse.Namespace) -> int:
    began_s = time.monotonic()
    tally = {"agree": 0, "differ": 0, "unsteady": 0, "left out": 0}

    def one(seed: int) -> tuple[int, str, str]:
        steps = draw(seed, two_primaries=arguments.two_primaries)
        if ends_a_kernel(steps, both.version):
            return seed, "left out", ""
        real = both.on_kernels(steps)
        if arguments.record:
            path = Path(arguments.record) / f"seed-{seed}.yaml"
            recorded.save(path, f"random sequence {seed}", real)
        if closest(real, both.simulated) is None:
            return seed, "agree", ""
        again = both.on_kernels(steps)
        words = closest(again, both.simulated)
        if words is None:
            return seed, "unsteady", difference(real, again) or ""
        return seed, "differ", _report(both, steps, words, small=not arguments.no_shrink)

    with ThreadPoolExecutor(arguments.slots) as pool:
        for seed, verdict, words in pool.map(one, seeds):
            tally[verdict] += 1
            if verdict not in ("agree", "left out"):
                print(f"seed {seed}: {verdict}\n{words}", flush=True)
            if verdict == "differ" and not arguments.keep_going:
                pool.shutdown(cancel_futures=True)
                break
    minutes = (time.monotonic() - began_s) / 60
    done = sum(tally.values())
    print(f"{done} sequences in {minutes:.1f} min ({done / minutes:.1f} a minute): {tally}")
    return 1 if tally["differ"] else 0


def _report(both: Both, steps: Sequence[str], words: str, *, small: bool) -> str:
    if not small:
        return "\n".join([*(f"    - {step}" for step in steps), words])
    shortest = shrink(steps, lambda fewer: both.differ(fewer) is not None)
    last = both.differ(shortest) or words
    return "\n".join([*(f"    - {step}" for step in shortest), last])


if __name__ == "__main__":
    sys.exit(main())
