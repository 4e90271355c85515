"""What is played, in which order: installation.md's "Upgrades", by the page's own commands. Pure.

Between the commands stand the steps that the page has in words (the hosts of one site, then the
other's; the controller), and after what leaves two versions side by side, moves and losses. A test
holds that the commands are the page's, in its order.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

CRDS = "kubectl apply -f crds/"
RIGHTS = "kubectl apply -k manifests/hosts"
HOST_STATUS = "kubectl apply -f manifests/policies/host-status.yaml"
BASE = "kubectl apply -k manifests/base"
DEFAULT = "kubectl apply -k manifests/default"
ADMISSION = "kubectl apply -k manifests/admission"
NO_POLICIES = "kubectl delete -k manifests/policies"
FORWARD = (CRDS, RIGHTS, HOST_STATUS, BASE, DEFAULT, ADMISSION)
LEFT_OUT = {
    "kubectl -n tandem-system rollout status": "the controller is a process in the lab, not a pod",
    "kubectl delete validatingwebhookconfiguration": "no revision that can be played has that one",
}
"""Commands of the page that are not run, by how they begin, and why."""


FIRST = {"crds": CRDS, "rights": RIGHTS, "host-status": HOST_STATUS}
"""What the page has done first, by what it is called when it is forgotten on purpose."""


class Act(StrEnum):
    """What is done in a step.

    APPLY       the command is given, in the folder of the version
    HOSTS       the version is installed on the hosts of a site, and their actuators restarted
    CONTROLLER  the controller of the version is started in place of the one that runs
    WEBHOOK     the same with the admission webhook, and its configuration
    WATCH       nothing: what there is must hold
    MOVES       every guest is moved to the other site and back, stopped and as it runs
    LOSS        the host of a site is killed, its guests are taken over, it returns, they go home
    """

    APPLY = "apply"
    HOSTS = "hosts"
    CONTROLLER = "controller"
    WEBHOOK = "webhook"
    WATCH = "watch"
    MOVES = "moves"
    LOSS = "loss"


PLAYS = (Act.MOVES, Act.LOSS)


@dataclass(frozen=True)
class Step:
    """One row of the table. ``new``: of the newer version. ``argument``: a site, or a command."""

    act: Act
    what: str
    new: bool = True
    argument: str = ""


@dataclass(frozen=True)
class Phase:
    """A state of the cluster, and what is done to reach it and played in it."""

    name: str
    steps: tuple[Step, ...]


def upgrade(sites: tuple[str, str], forgotten: Collection[str] = ()) -> tuple[Phase, ...]:
    """From everything old to everything new; what is played in each state between.

    ``forgotten``: keys of `FIRST` that are left out until `BASE` and `DEFAULT` bring them, too.
    """
    first, second = sites
    begin = [command for name, command in FIRST.items() if name not in forgotten]
    return (
        Phase("all old", (Step(Act.WATCH, "nothing is done"),)),
        Phase("definitions, rights new", tuple(map(_apply, begin))),
        Phase(f"hosts of {first} new", (_hosts(first), *_plays(first, second))),
        Phase("all hosts new, controller old", (_hosts(second), *_plays(second, first))),
        Phase("controller new", (_apply(BASE), Step(Act.CONTROLLER, "the controller"))),
        Phase(
            "all new",
            (_apply(DEFAULT), Step(Act.WEBHOOK, ADMISSION), *_plays(first, second)),
        ),
    )


def downgrade(sites: tuple[str, str]) -> tuple[Phase, ...]:
    """The other way round. The definitions go back with the controller, as `BASE` has them."""
    first, second = sites
    return (
        Phase(
            "going back: controller old",
            (
                Step(Act.APPLY, NO_POLICIES, argument=NO_POLICIES),
                Step(Act.WEBHOOK, "the webhook", new=False),
                _apply(BASE, new=False),
                Step(Act.CONTROLLER, "the controller", new=False),
                *_plays(first, second),
            ),
        ),
        Phase(f"going back: hosts of {second} old", (_hosts(second, new=False), _moves())),
        Phase(f"going back: hosts of {first} old", (_hosts(first, new=False), _loss(first))),
        Phase("all old again", (_apply(DEFAULT, new=False), _moves(), _loss(second))),
    )


def _apply(command: str, *, new: bool = True) -> Step:
    return Step(Act.APPLY, command if new else f"{command} (old)", new, command)


def _hosts(site: str, *, new: bool = True) -> Step:
    return Step(Act.HOSTS, f"hosts of {site} {'new' if new else 'old'}", new, site)


def _plays(*losses: str) -> tuple[Step, ...]:
    return (_moves(), *(_loss(site) for site in losses))


def _moves() -> Step:
    return Step(Act.MOVES, "moves, there and back")


def _loss(site: str) -> Step:
    return Step(Act.LOSS, f"{site} is lost, and returns", argument=site)
