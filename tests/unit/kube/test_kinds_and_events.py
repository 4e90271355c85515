"""Paths of objects, lines of a watch, and the body of an event."""

from typing import Any

import pytest

from tandem_kube.errors import Expired, Unavailable
from tandem_kube.events import event_body
from tandem_kube.kinds import EVENTS, GUESTS, HOSTS
from tandem_kube.watch import BACKOFF_LAST_S, Backoff, Changed, Deleted, Line, read_line

NOW = "2024-01-01T00:00:00Z"
GUEST = {
    "apiVersion": "tandem.dev/v1alpha1",
    "kind": "Guest",
    "metadata": {"namespace": "ns", "name": "g", "uid": "u"},
}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (GUESTS.path(), "/apis/tandem.dev/v1alpha1/guests"),
        (GUESTS.path("ns"), "/apis/tandem.dev/v1alpha1/namespaces/ns/guests"),
        (
            GUESTS.path("ns", "g", "status"),
            "/apis/tandem.dev/v1alpha1/namespaces/ns/guests/g/status",
        ),
        (HOSTS.path("", "h"), "/apis/tandem.dev/v1alpha1/hosts/h"),
        (HOSTS.path("ignored", "h"), "/apis/tandem.dev/v1alpha1/hosts/h"),
        (EVENTS.path("ns"), "/api/v1/namespaces/ns/events"),
    ],
)
def test_paths(path: str, expected: str) -> None:
    assert path == expected


@pytest.mark.parametrize("name", ["../x", "a/b", "..", "a?b", "a%2f"])
def test_a_name_cannot_lead_elsewhere(name: str) -> None:
    with pytest.raises(ValueError, match="no name of an object"):
        GUESTS.path("ns", name)


def test_a_namespaced_object_needs_its_namespace() -> None:
    with pytest.raises(ValueError, match="needs a namespace"):
        GUESTS.path("", "g")


def test_the_same_words_make_the_sameread_line() -> None:
    first = event_body(GUEST, "c", "Normal", "Running", "It runs.", NOW)
    again = event_body(GUEST, "c", "Normal", "Running", "It runs.", "2025-01-01T00:00:00Z")
    other = event_body(GUEST, "c", "Normal", "Running", "It runs again.", NOW)
    assert first["metadata"] == again["metadata"]
    assert first["metadata"]["name"] != other["metadata"]["name"]
    assert first["metadata"]["namespace"] == "ns"


def test_a_long_message_is_cut_to_what_the_server_takes() -> None:
    assert len(event_body(GUEST, "c", "Normal", "R", "x" * 5000, NOW)["message"]) == 1024


def test_lines_of_a_watch() -> None:
    thing = {"metadata": {"name": "n", "resourceVersion": "7"}}
    for kind in ("ADDED", "MODIFIED"):
        told = read_line({"type": kind, "object": thing})
        assert told == Line(Changed(thing), "7", False)
    told = read_line({"type": "DELETED", "object": thing})
    assert told == Line(Deleted(thing), "7", False)
    told = read_line({"type": "BOOKMARK", "object": thing})
    assert told == Line(None, "7", False)
    gone = {"type": "ERROR", "object": {"code": 410, "message": "too old"}}
    with pytest.raises(Expired):
        read_line(gone)


@pytest.mark.parametrize("line", [[], {"type": "ADDED"}, None, {"type": "BOOKMARK", "object": []}])
def test_a_line_that_cannot_be_read_ends_the_watch(line: Any) -> None:
    with pytest.raises(Unavailable):
        read_line(line)


def test_delays_double_up_to_a_limit_and_start_anew() -> None:
    backoff = Backoff()
    delays_s = [backoff.next_s() for _ in range(12)]
    assert delays_s[0] <= 0.15
    assert max(delays_s) <= BACKOFF_LAST_S * 1.5
    assert min(delays_s[-3:]) >= BACKOFF_LAST_S * 0.5
    backoff.reset()
    assert backoff.next_s() <= 0.15
