"""What people do in a scenario on real kernels: they create, edit and delete objects with kubectl.

Called by ``doing`` and ``stage``.
"""

from __future__ import annotations

import json

from tandem_api.meta import API_VERSION
from tandem_lab.controlplane import ADMINISTRATOR
from tandem_lab.deployment import Deployment
from tandem_lab.scenarios.objects import NAMESPACE
from tandem_scenario.plan import WorldPlan
from tandem_scenario.verbs import EVERYTHING


class People:
    """As the cluster's administrator."""

    def __init__(self, deployment: Deployment, plan: WorldPlan) -> None:
        self.deployment, self.plan = deployment, plan
        self._moves = 0

    def set_running(self, guest: str, on: bool) -> None:
        self._patch("guest", guest, {"running": on}, NAMESPACE)

    def set_failback(self, guest: str, policy: str) -> None:
        plan = next(one for one in self.plan.guests if one.name == guest)
        after_s = 0 if policy != plan.failback else plan.failback_after_s
        self._patch(
            "guest", guest, {"failback": {"policy": policy, "afterSeconds": after_s}}, NAMESPACE
        )

    def set_maintenance(self, premises: str, on: bool) -> None:
        """Of a site or a host."""
        self._patch(self._kind_of(premises), premises, {"maintenance": on})

    def set_paused(self, subject: str, on: bool) -> None:
        """Of a guest, a host, a site, or everything."""
        if subject == EVERYTHING:
            kind = {"apiVersion": API_VERSION, "kind": "Tandem", "metadata": {"name": "default"}}
            made = json.dumps({**kind, "spec": {"paused": on}})
            self.deployment.kubectl("apply", "-f", "-", stdin=made)
        elif subject in {plan.name for plan in self.plan.guests}:
            self._patch("guest", subject, {"paused": on}, NAMESPACE)
        else:
            self._patch(self._kind_of(subject), subject, {"paused": on})

    def move(self, guest: str, premises: str, seconds: str = "", how: str = "") -> None:
        """A person orders it: another GuestMove. ``how``: as the guest runs, or not."""
        self._moves += 1
        metadata = {"name": f"{guest}-{self._moves}", "namespace": NAMESPACE}
        spec: dict[str, object] = {"guest": guest, "to": {self._kind_of(premises): premises}}
        if how:
            spec["how"] = how
        if seconds:
            spec["timeoutSeconds"] = int(float(seconds))
        made = {"apiVersion": API_VERSION, "kind": "GuestMove", "metadata": metadata, "spec": spec}
        self.deployment.kubectl("create", "-f", "-", stdin=json.dumps(made))

    def unmove(self, guest: str) -> None:
        """A person deletes those that have not ended."""
        raw = self.deployment.kubectl("get", "guestmove", "-n", NAMESPACE, "-o", "json")
        for move in json.loads(raw)["items"]:
            phase = (move.get("status") or {}).get("phase")
            if move["spec"]["guest"] == guest and phase not in ("Succeeded", "Failed"):
                name = move["metadata"]["name"]
                self.deployment.kubectl("delete", "guestmove", "-n", NAMESPACE, name)

    def _kind_of(self, premises: str) -> str:
        return "host" if premises in {host.name for host in self.plan.hosts} else "site"

    def override(self, guest: str, host: str) -> None:
        """A person gives the mirror to a host, at the epoch that it has now."""
        raw = json.loads(
            self.deployment.kubectl("get", "mirror", "-n", NAMESPACE, guest, "-o", "json")
        )
        epoch = raw["status"]["authority"]["epoch"]
        order = {"host": host, "epoch": epoch, "acceptDataLoss": True, "by": ADMINISTRATOR}
        self._patch("mirror", guest, {"override": order}, NAMESPACE)

    def confirm_down(self, host: str) -> None:
        """A person's word that the boot that the API knows is powered off."""
        raw = json.loads(self.deployment.kubectl("get", "host", host, "-o", "json"))
        self._patch("host", host, {"confirmedDown": raw["status"]["bootID"]})

    def _patch(self, kind: str, name: str, spec: dict[str, object], namespace: str = "") -> None:
        where = ["-n", namespace] if namespace else []
        body = json.dumps({"spec": spec})
        self.deployment.kubectl("patch", kind, *where, name, "--type=merge", "-p", body)
