"""Install Tandem in the cluster by docs/installation.md: its commands, word for word.

They are given in a copy of what a checkout has, since some of them write into it, in a shell where
the cluster is. Called by `make pods` and by the tests.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from tandem_lab.controlplane import ControlPlane
from tandem_lab.controlplane.process import daemon_environment, in_netns
from tandem_lab.pods import page
from tandem_lab.pods.page import Command
from tandem_lab.pods.prepare import IMAGE
from tandem_lab.settings import SOURCE_DIR
from tandem_lab.shell import run

NAMESPACE = "tandem-system"
DEPLOYMENTS = ("tandem-controller", "tandem-admission")
WEBHOOK = "tandem-validation"
PAGE = SOURCE_DIR / "docs/installation.md"
COPIED = ("crds", "manifests", "examples")
ROLLOUT_TIMEOUT_S = 90
COMMANDS_TIMEOUT_S = 150.0
THIRD_PLACE, ALERTS, ADMISSION = "1. The third place", "Alerts", "The admission webhook"
KEYS, SITES, GUEST = "2. A key for each host", "4. Sites and hosts", "5. The first guest"
UPGRADES = "Upgrades"
SECTIONS = (THIRD_PLACE, ALERTS, ADMISSION, KEYS, SITES, GUEST, UPGRADES)
"""All that is run here of the page."""
HOST_OF_THE_PAGE = "burjassot-1"
WAITS = "kubectl wait guest"


class Installation:
    """One installation, from a checkout's files in `directory`."""

    def __init__(self, plane: ControlPlane, directory: Path) -> None:
        self._plane = plane
        self._directory = directory
        self._page = PAGE.read_text()

    def check_out(self) -> None:
        """What the page's commands are given in."""
        shutil.rmtree(self._directory, ignore_errors=True)
        for name in COPIED:
            shutil.copytree(SOURCE_DIR / name, self._directory / name)

    def third_place(self) -> None:
        """Controller, rights, policies, lanes, alerts."""
        self._give(page.section(self._page, THIRD_PLACE))
        self._give(page.section(self._page, ALERTS))

    def admission(self) -> None:
        """The webhook: a certificate in a Secret, the manifests, and the CA in them."""
        self._give(by_hand(page.section(self._page, ADMISSION)))

    def key_for_host(self, host: str) -> Path:
        """A kubeconfig by a key that the cluster's own signer certified, with the host's rights."""
        self._give(page.section(self._page, KEYS), lambda text: text.replace(*_for(host)))
        return self._directory / f"{host}.kubeconfig"

    def sites(self, profile: str) -> None:
        """Sites and hosts, of this profile, as somebody would write it into the copied file."""
        copied, *rest = page.section(self._page, SITES)
        self._give([copied])
        path = self._directory / "sites.yaml"
        path.write_text(with_profile(path.read_text(), profile))
        self._give(rest)

    def first_guest(self) -> None:
        """A mirror and a guest, but for the wait until it is protected."""
        self._give([each for each in self._first_guest() if not each.text.startswith(WAITS)])

    def wait_until_protected(self) -> None:
        """As the page says to wait for the first guest."""
        self._give([each for each in self._first_guest() if each.text.startswith(WAITS)])

    def upgrade(self, tag: str) -> None:
        """In the page's order, with the image's new name in the one place where it stands."""
        path = self._directory / "manifests/image/kustomization.yaml"
        path.write_text(with_image(path.read_text(), IMAGE, tag))
        self._give(page.section(self._page, UPGRADES))

    def webhooks(self) -> list[dict[str, Any]]:
        """The webhooks, as the API server has them."""
        found = self._kubectl("get", "validatingwebhookconfiguration", WEBHOOK, "-o", "json")
        hooks: list[dict[str, Any]] = json.loads(found)["webhooks"]
        return hooks

    def enforced_level(self) -> str:
        """The Pod Security Standard that the namespace enforces."""
        found = json.loads(self._kubectl("get", "namespace", NAMESPACE, "-o", "json"))
        return str(found["metadata"]["labels"].get("pod-security.kubernetes.io/enforce", ""))

    def wait_until_available(self) -> None:
        """Until both Deployments are rolled out, with all of their replicas."""
        for name in DEPLOYMENTS:
            self._kubectl(
                *("-n", NAMESPACE, "rollout", "status", f"deployment/{name}"),
                f"--timeout={ROLLOUT_TIMEOUT_S}s",
                timeout_s=ROLLOUT_TIMEOUT_S + 10.0,
            )

    def _first_guest(self) -> list[Command]:
        return page.section(self._page, GUEST)

    def _give(
        self, commands: Sequence[Command], edit: Callable[[str], str] = lambda text: text
    ) -> None:
        """To one shell, which ends at the first that fails."""
        script = "\n".join(edit(each.text) for each in commands if not each.left_out)
        programs = self._plane.binaries.kubectl.parent
        environment = {
            **daemon_environment(),
            "PATH": f"{programs}:{os.environ['PATH']}",
            "KUBECONFIG": str(self._plane.admin_kubeconfig()),
        }
        run(
            in_netns(self._plane.netns, ["bash", "-euo", "pipefail", "-c", script]),
            timeout_s=COMMANDS_TIMEOUT_S,
            cwd=self._directory,
            env=environment,
        )

    def _kubectl(self, *arguments: str, timeout_s: float = 60.0) -> str:
        return self._plane.kubectl(*arguments, timeout_s=timeout_s)


def _for(host: str) -> tuple[str, str]:
    return HOST_OF_THE_PAGE, host


def by_hand(webhook: Sequence[Command]) -> list[Command]:
    """The commands of the webhook's first way: those before the other, which has cert-manager."""
    other_way = next(n for n, each in enumerate(webhook) if each.left_out)
    return list(webhook[:other_way])


def with_image(kustomization: str, new_name: str, tag: str) -> str:
    """The kustomization with every image that it names taken from there."""
    document = yaml.safe_load(kustomization)
    for entry in document["images"]:
        entry.update(newName=new_name, newTag=tag)
    return yaml.safe_dump(document, sort_keys=False)


def with_profile(sites: str, profile: str) -> str:
    """The same sites and hosts, with another failure detector."""
    documents = list(yaml.safe_load_all(sites))
    for document in documents:
        if document["kind"] == "Site":
            document["spec"]["profile"] = profile
    return yaml.safe_dump_all(documents)
