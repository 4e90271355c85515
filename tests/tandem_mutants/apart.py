"""Each trial in a process of its own, begun with every library imported and nothing of the project.

Python's fork server imports the libraries once; a trial then starts in tens of milliseconds, where
a new interpreter takes seconds. Called by ``__main__`` and tests.
"""

import multiprocessing
import os
import tempfile
import traceback
from multiprocessing.connection import Connection
from pathlib import Path

from tandem_mutants.trial import Trial, Verdict, judge

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tandem_mutants.libraries"])


class TrialFailed(Exception):
    """There is no verdict. The message names the mutant, and says what the process said."""


def judged(trial: Trial, timeout_s: float) -> Verdict:
    """The verdict, from a process of its own. Raises: TrialFailed."""
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder, "said")
        ours, theirs = CONTEXT.Pipe(duplex=False)
        process = CONTEXT.Process(target=_judge, args=(trial, theirs, said))
        process.start()
        theirs.close()
        with ours:
            try:
                if ours.poll(timeout_s):
                    verdict = ours.recv()
                    assert isinstance(verdict, Verdict)
                    return verdict
                why = f"it did not end within {timeout_s:.0f} s"
            except EOFError:
                process.join()
                why = f"it ended with {process.exitcode} and no verdict"
            finally:
                process.kill()
                process.join()
        output = said.read_text(errors="replace") if said.exists() else ""
        raise TrialFailed(f"the trial of {trial.mutant.name}: {why}\n{output}")


def _judge(trial: Trial, answer: Connection, said: Path) -> None:
    output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(output, stream)
    try:
        verdict = judge(trial)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    answer.send(verdict)
    # What the mutant left running must not keep this process from its end.
    os._exit(0)
