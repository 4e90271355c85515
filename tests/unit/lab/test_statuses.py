"""What the lab's scenarios read at the API server, and what they make of it."""

from typing import Any, cast

from tandem_api.reasons import Reason
from tandem_lab.scenarios.objects import NAMESPACE
from tandem_lab.scenarios.statuses import Statuses

ROOT = "/apis/tandem.dev/v1alpha1"
DRAINED = {"type": "Drained", "status": "False", "reason": "DrainBlocked"}
OTHER = {"type": "Ready", "status": "True", "reason": "HeartbeatFresh"}
HELD = {
    f"{ROOT}/hosts": [{"metadata": {"name": "a-1"}, "status": {"conditions": [DRAINED, OTHER]}}],
    f"{ROOT}/namespaces/{NAMESPACE}/guests": [
        {
            "metadata": {"name": "web"},
            "status": {"reason": "Running", "assignment": {"host": "a-1"}},
        }
    ],
    f"{ROOT}/namespaces/{NAMESPACE}/mirrors": [{"metadata": {"name": "web"}}],
    f"{ROOT}/namespaces/{NAMESPACE}/guestmoves": [],
}


class Server:
    """What is anywhere else is not found."""

    def get(self, path: str) -> dict[str, Any]:
        if path not in HELD:
            raise ValueError(f"{path}: 404")
        return {"items": HELD[path]}


def test_everything_is_read_where_it_is_and_a_drain_is_told_of_its_guest() -> None:
    whole = cast(Any, type("Log", (), {"say": lambda *words: None}))
    statuses = Statuses(cast(Any, Server()), whole())
    statuses._read()
    assert statuses.read_s > 0
    assert statuses.reasons("web") == {Reason.RUNNING, Reason.DRAIN_BLOCKED}
