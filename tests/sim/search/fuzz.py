"""Plays random faults from a range of seeds, on all cores, and counts what happened.

A world of each shape is brought up once; then every seed goes on from there in a process of its
own (``fork``), so that none sees anything of another. A seed is one result in whatever process it
is played. Called by ``__main__`` and by tests.
"""

import gc
import multiprocessing
import os
import pickle
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait

from sim.commands.lasting import of_host
from sim.faults.choices import Choice
from sim.faults.schedule import EVERYTHING, SHAPES, scenario
from sim.play.player import begin
from sim.search.shrink import shrunk
from sim.search.trial import Outcome, trial
from sim.world import World
from tandem_scenario.scenario import Scenario

FORK = multiprocessing.get_context("fork")
NOBODY_LISTENS = 1
HANGS_AFTER_S = 120
CHUNK = 100
"""Seeds of one shape that a worker plays before it goes to the next shape."""
SHRINK_TRIES = 400


@dataclass
class Totals:
    """Everything together. ``wall_s`` is real time."""

    seeds: int = 0
    failed: list[Outcome] = field(default_factory=list)
    simulated_s: float = 0.0
    starts: int = 0
    counted: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    wall_s: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    lasting: dict[str, Counter[str]] = field(default_factory=dict)
    """By kind of what stayed broken: seeds, and what became of their guests."""

    def add(self, outcome: Outcome) -> None:
        self.seeds += 1
        self.simulated_s += outcome.simulated_s
        self.counted += outcome.counted
        self.starts += outcome.starts
        self.faults += outcome.faults
        for kind in {of_host(what)[0] for what in outcome.broken_for_good}:
            counted = self.lasting.setdefault(kind, Counter())
            counted.update(["seeds", *map(str, outcome.verdicts)])
            counted.update(f"orders {end}" for end in outcome.ends)
        if outcome.problems:
            self.failed.append(outcome)
        else:
            self.slowest_s = max(self.slowest_s, outcome.recovered_s)


def fuzz(
    seeds: Sequence[int],
    *,
    jobs: int = 1,
    choice: Choice = EVERYTHING,
    end_s: float = float("inf"),
    keep_going: bool = False,
    told: Callable[[Totals, Outcome], None] = lambda totals, outcome: None,
) -> Totals:
    """``end_s``: real seconds after which no more is begun, as after an interrupt.

    ``told`` hears of every outcome.
    """
    began_s, totals = time.monotonic(), Totals()
    workers = [_Worker(seeds, number, jobs, choice) for number in range(jobs)]
    try:
        for outcome in _outcomes(workers):
            totals.add(outcome)
            totals.wall_s = time.monotonic() - began_s
            told(totals, outcome)
            if (outcome.problems and not keep_going) or totals.wall_s > end_s:
                break
    except KeyboardInterrupt:
        pass  # what was played counts
    finally:
        for worker in workers:
            worker.stop()
    totals.wall_s = time.monotonic() - began_s
    return totals


class _Worker:
    """A process that plays its share of the seeds."""

    def __init__(self, seeds: Sequence[int], number: int, jobs: int, choice: Choice) -> None:
        self.results, other_end = FORK.Pipe(duplex=False)
        share = [chunk for index, chunk in enumerate(_chunks(seeds)) if index % jobs == number]
        self._process = FORK.Process(target=_work, args=(share, choice, other_end))
        self._process.start()
        other_end.close()

    def stop(self) -> None:
        self.results.close()
        self._process.terminate()
        self._process.join()


def _chunks(seeds: Sequence[int]) -> Iterator[list[int]]:
    """Seeds of the same shape together, so that a world is brought up once for many."""
    block = SHAPES * CHUNK
    for first in range(0, len(seeds), block):
        shapes: dict[int, list[int]] = {}
        for seed in seeds[first : first + block]:
            shapes.setdefault(seed % SHAPES, []).append(seed)
        yield from shapes.values()


def _outcomes(workers: list[_Worker]) -> Iterator[Outcome]:
    open_ends = {worker.results for worker in workers}
    while open_ends:
        for ready in wait(list(open_ends)):
            assert isinstance(ready, Connection)
            try:
                yield ready.recv()
            except EOFError:
                open_ends.discard(ready)


def _work(share: list[list[int]], choice: Choice, results: Connection) -> None:
    """In a worker. Ends when nobody listens any more.

    Each shape has a process of its own, so that no world is left over from the one before: nothing
    has to be collected, which takes half as long as a world to be brought up.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for seeds in share:
        shape = FORK.Process(target=_play_shape, args=(seeds, choice, results))
        shape.start()
        shape.join()
        if shape.exitcode:
            return


def _play_shape(seeds: list[int], choice: Choice, results: Connection) -> None:
    gc.disable()
    try:
        for outcome in outcomes_of(seeds, choice):
            results.send(outcome)
    except (BrokenPipeError, KeyboardInterrupt):
        sys.exit(NOBODY_LISTENS)


def outcomes_of(seeds: Sequence[int], choice: Choice) -> Iterator[Outcome]:
    """Of seeds of one shape, each in a child that gets the world as it was brought up once."""
    world = begin(scenario(seeds[0], choice).world, settled=True)
    for seed in seeds:
        yield _in_a_child(scenario(seed, choice), world)
    world.discard()


def _in_a_child(one: Scenario, world: World) -> Outcome:
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read_end)
        signal.setitimer(signal.ITIMER_PROF, HANGS_AFTER_S)  # of its own time
        with os.fdopen(write_end, "wb") as pipe:
            pickle.dump(trial(one, world), pipe)
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(pid, 0)
    if not answer:
        return Outcome(one.world.seed, [_why(os.waitstatus_to_exitcode(status))])
    outcome = pickle.loads(answer)  # our own child's
    assert isinstance(outcome, Outcome)
    return outcome


def _why(code: int) -> str:
    """Why a child gave no answer."""
    if code == -signal.SIGPROF:
        return f"it did not end within {HANGS_AFTER_S} s of its own time"
    return f"its process ended with {signal.Signals(-code).name if code < 0 else code}"


def shortest(seed: int, choice: Choice = EVERYTHING) -> Scenario:
    """The scenario of a failing seed, as short as it gets."""
    tries = 0
    first = scenario(seed, choice)
    expected = _gist(trial(first))

    def fails(candidate: Scenario) -> bool:
        nonlocal tries
        tries += 1
        return tries <= SHRINK_TRIES and _gist(trial(candidate)) == expected

    short = shrunk(first, fails)
    fewer = replace(short, title=f"Random faults, seed {seed}, shortened")
    return replace(fewer, description="; ".join(trial(short).problems[:1]))


def _gist(outcome: Outcome) -> str:
    """What kind of failure it is: its words without numbers and names."""
    if not outcome.problems:
        return ""
    problem = outcome.problems[0].split(" s: ", 1)[-1]
    plain = (word for word in problem.split() if word.isalpha())
    return " ".join(list(plain)[:4]) if "well" not in problem else "well"
