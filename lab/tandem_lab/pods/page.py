"""The commands of docs/installation.md, as they are printed there.

A block whose first line begins with a prompt is commands and nothing else: each prompt begins one,
and the lines after it belong to it. What is run on the cluster is run by these very words, so that
the page cannot say one thing and the test do another; what is not run stands in `LEFT_OUT` or
`SECTIONS_LEFT_OUT` with the reason. Pure.

Called by `installation` and by the unit tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

PROMPTS = {"$ ": "the third place", "# ": "a host"}
FENCE = "```"
LEFT_OUT = {
    "docker build": "there is no Docker here; buildah builds the same target of the same file",
    "docker push": "there is no registry: containerd is given the image under the registry's name",
    "kubectl apply -f manifests/cert-manager": "there is no cert-manager",
    "kubectl annotate validatingwebhookconfiguration": "there is no cert-manager",
    "kubectl delete validatingwebhookconfiguration": "nothing of a release before is here",
    "kubectl delete -k": "the way back to a release before",
}
"""By how they begin: commands of the third place that cannot be run on the pods' cluster."""
SECTIONS_LEFT_OUT = {
    "Live migration": "the pods' cluster has no hosts that send guests; the lab makes its own CA",
}
"""Whole sections, by their heading: one of their commands may begin like one that is run."""


@dataclass(frozen=True)
class Command:
    """One command: the heading that it is below, where it is given, and its lines."""

    section: str
    where: str
    text: str

    @property
    def left_out(self) -> str:
        """Why it is not run, or nothing."""
        if self.section in SECTIONS_LEFT_OUT:
            return SECTIONS_LEFT_OUT[self.section]
        reasons = (why for begins, why in LEFT_OUT.items() if self.text.startswith(begins))
        return next(reasons, "")


def commands(page: str) -> list[Command]:
    """All of them, in their order."""
    found: list[Command] = []
    for section, lines in _blocks(page):
        if not lines or lines[0][:2] not in PROMPTS:
            continue
        for line in lines:
            prompt, rest = line[:2], line[2:]
            if prompt in PROMPTS:
                found.append(Command(section, PROMPTS[prompt], rest))
            else:
                last = found.pop()
                found.append(Command(section, last.where, f"{last.text}\n{line}"))
    return found


def section(page: str, heading: str) -> list[Command]:
    """Those below one heading, for the third place. KeyError if there are none."""
    found = [each for each in commands(page) if each.section == heading and each.where == _THIRD]
    if not found:
        raise KeyError(f"no commands below {heading!r}")
    return found


_THIRD = PROMPTS["$ "]


def _blocks(page: str) -> Iterator[tuple[str, list[str]]]:
    """The blocks without a language, each with the heading that it is below."""
    heading, language = "", ""
    block: list[str] | None = None
    for line in page.splitlines():
        if line.startswith(FENCE) and block is None:
            block, language = [], line.removeprefix(FENCE)
        elif line.startswith(FENCE):
            assert block is not None
            if not language:
                yield heading, block
            block = None
        elif block is not None:
            block.append(line)
        elif line.startswith("#"):
            heading = line.lstrip("# ")
