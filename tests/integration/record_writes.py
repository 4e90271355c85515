"""Records what the programs of another release write to statuses, by that release's own simulator.

    .venv/bin/python tests/integration/record_writes.py v0.1.0

Plays every scenario of that commit, in a checkout of its own, and keeps those writes that have
something which none before had: another field, another word in it, another way in which an
authority changed hands. The file goes to `tests/integration/releases/`; `test_release_before.py`
makes the same writes on a server with the definitions and policies of today.

Run by hand, once for each release. Within the checkout it runs itself, on that release's modules.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RELEASES = Path(__file__).resolve().parent / "releases"
SOURCES = ("crds", "base", "kube", "controller", "node-actuator", "lab", "tests")
WORD = re.compile(r"[A-Z][A-Za-z]{1,40}")
Raw = Mapping[str, Any]
Seen = Callable[[str, Any, Any], None]
"""By whom (a host's name, or nothing: the controller), the object before, and after."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="record_writes", description=__doc__)
    parser.add_argument("commit")
    parser.add_argument("--inside", type=Path, help="the checkout; used by itself")
    options = parser.parse_args()
    if options.inside is None:
        _check_out_and_record(options.commit)
    else:
        _record(options.inside, RELEASES / f"{options.commit}.json.gz")


def _check_out_and_record(commit: str) -> None:
    with tempfile.TemporaryDirectory(prefix="tandem-release-") as directory:
        tree = Path(directory) / "tree"
        git = ("git", "-C", str(ROOT), "worktree")
        subprocess.run([*git, "add", "--quiet", "--detach", str(tree), commit], check=True)
        try:
            paths = ":".join(str(tree / name) for name in SOURCES)
            command = [sys.executable, __file__, commit, "--inside", str(tree)]
            environment = {**os.environ, "PYTHONPATH": paths, "PYTHONSAFEPATH": "1"}
            subprocess.run(command, env=environment, check=True)
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def _record(tree: Path, target: Path) -> None:
    kept: list[dict[str, Any]] = []
    known: set[Hashable] = set()
    count = 0
    for path in sorted((tree / "tests/scenarios").glob("*/scenario.yaml")):

        def look(host: str, old: Any, new: Any, name: str = path.parent.name) -> None:
            nonlocal count
            count += 1
            kind, before, after = type(new).__name__, old.wire(), new.wire()
            found = set(features(kind, host, before["status"], after["status"]))
            if found <= known:
                return
            known.update(found)
            told = {"scenario": name, "kind": kind, "writer": host, "name": new.metadata.name}
            spec = {"uid": new.metadata.uid, "spec": before["spec"]}
            kept.append({**told, **spec, "old": before["status"], "new": after["status"]})

        _play(path, look)
    target.parent.mkdir(exist_ok=True)
    text = json.dumps(kept, sort_keys=True)
    target.write_bytes(gzip.compress(text.encode(), mtime=0))
    print(f"{target}: {len(kept)} of {count} writes")


def _play(path: Path, look: Seen) -> None:
    """One scenario, on whichever simulator this release has."""
    from tandem_scenario.scenario import read

    try:
        play = _player()
    except ImportError:
        _play_on_copied_loops(path, look)
        return
    play(read(path), 1, seen=lambda write: look(write.writer.host, write.old, write.new))


def _player() -> Any:
    """Raises: ImportError: this release has none that tells who writes."""
    try:
        from sim.play.player import play
    except ImportError:  # all of the simulator was one folder
        from sim.player import play  # type: ignore[import-not-found, no-redef]
    return play


def _play_on_copied_loops(path: Path, look: Seen) -> None:
    """Releases up to 5005daa: their simulator has no look at who writes."""
    import tandem_sim.api as module  # type: ignore[import-not-found]
    from tandem_sim.player import play  # type: ignore[import-not-found]

    from tandem_scenario.scenario import read

    writer: list[str] = []
    call, put = module.Client.call, module.Server.put

    def called(client: Any, action: Any, *arguments: Any, **options: Any) -> Any:
        def by_it() -> Any:
            writer.append(client.host)
            try:
                return action()
            finally:
                writer.pop()

        return call(client, by_it, *arguments, **options)

    def stored(server: Any, obj: Any) -> Any:
        before = server.objects.get((type(obj).__name__, obj.key))
        after = put(server, obj)
        if writer and before is not None and before.status != after.status:
            look(writer[-1], before, after)
        return after

    module.Client.call, module.Server.put = called, stored
    try:
        play(read(path), 1)
    finally:
        module.Client.call, module.Server.put = call, put


# -- what is new in a write


def features(kind: str, writer: str, old: Raw, new: Raw) -> Iterator[Hashable]:
    """Each changed leaf with its word, and how the authority changed, seen from the writer."""
    before, after = dict(_leaves(old, writer)), dict(_leaves(new, writer))
    for path in sorted(before.keys() | after.keys()):
        if before.get(path) != after.get(path):
            yield kind, bool(writer), path, _word(after.get(path))
    was, now = old.get("authority") or {}, new.get("authority") or {}
    if was != now:
        yield kind, bool(writer), tuple(_relations(was, writer)), tuple(_relations(now, writer))


def _relations(authority: Raw, writer: str) -> Iterator[Hashable]:
    def who(host: str) -> str:
        return ("own" if host == writer else "other") if host else ""

    yield who(authority.get("owner", ""))
    yield authority.get("mode"), authority.get("reason"), bool(authority.get("override"))
    for name in ("eligible", "fenced"):
        entries = authority.get(name) or {}
        yield tuple(sorted((who(host), each.get("eligible")) for host, each in entries.items()))


def _leaves(value: Any, writer: str, path: tuple[str, ...] = ()) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            name = "own" if key == writer else "host" if key.endswith(("-1", "-2")) else key
            yield from _leaves(inner, writer, (*path, name))
    elif isinstance(value, list) and value and isinstance(value[0], Mapping):
        for inner in value:
            yield from _leaves(inner, writer, (*path, str(inner.get("type", ""))))
    else:
        yield path, value


def _word(value: Any) -> Hashable:
    """What of a value may decide whether it is accepted."""
    if isinstance(value, str) and not WORD.fullmatch(value):
        return "text"
    return value if isinstance(value, str | bool) or value is None else type(value).__name__


if __name__ == "__main__":
    main()
