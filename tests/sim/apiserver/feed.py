"""What one watch tells: everything first, if it asks for that, then each change in order.

The server's end of a watch, without the way to whoever watches; that is in ``stream``. Versions
decide what is told: after a restore from a backup they go backwards, and a watch from a version
that is yet to come tells nothing until then, without an error. Called by ``api``.
"""

from collections.abc import Mapping
from typing import Any

from sim.apiserver import failures
from sim.apiserver.handler import Handler, Request
from sim.apiserver.kinds import Route, route
from sim.apiserver.selectors import selects
from sim.apiserver.store import Event, Raw, Shelf, sorted_objects
from tandem_api.meta import ObjectKey
from tandem_kube.watch import INITIAL_EVENTS_END


class Feed:
    """``at``: the index of the next event of the shelf. ``first``: lines that come before it."""

    def __init__(self, shelf: Shelf, where: Route, selector: str, at: int) -> None:
        self.shelf, self._where, self._selector, self.at = shelf, where, selector, at
        self._all = not where.namespace and not selector
        self.first: list[Raw] = []
        self.begins_after = 0
        self.fails = False

    @property
    def behind(self) -> bool:
        return self.at < len(self.shelf.events)

    def take(self, until: int) -> list[Raw]:
        """The lines up to that event."""
        events, self.at = self.shelf.events[self.at : until], until
        lines = (self._line(e) for e in events if e.version > self.begins_after)
        return [line for line in lines if line is not None]

    def _line(self, event: Event) -> Raw | None:
        if self._all:
            return event.line
        if self._where.namespace not in ("", event.key.namespace):
            return None
        was = event.before is not None and selects(self._selector, event.before)
        now = event.after is not None and selects(self._selector, event.after)
        if was and not now:
            return event.line if event.after is None else _gone(event)
        if now and not was:
            return {"type": "ADDED", "object": event.after}
        return event.line if now else None

    def mark(self) -> Raw:
        """All that there is up to here has been told."""
        return self.bookmark(self.shelf.events[self.at - 1].version)

    def bookmark(self, version: int, *, all_told: bool = False) -> Raw:
        kind = self._where.served.kind
        metadata: Raw = {"resourceVersion": str(version)}
        if all_told:
            metadata["annotations"] = {INITIAL_EVENTS_END: "true"}
        body = {"kind": kind.name, "apiVersion": kind.api_version, "metadata": metadata}
        return {"type": "BOOKMARK", "object": body}

    def tell_first(self, objects: Mapping[ObjectKey, Raw]) -> None:
        self.first = [
            {"type": "ADDED", "object": raw}
            for key, raw in sorted_objects(objects)
            if self._where.namespace in ("", key.namespace) and selects(self._selector, raw)
        ]


def _gone(event: Event) -> Raw:
    """It is there, but no longer selected: its last selected state, of the version of its going."""
    assert event.before is not None
    metadata = {**event.before["metadata"], "resourceVersion": str(event.version)}
    return {"type": "DELETED", "object": {**event.before, "metadata": metadata}}


def open_feed(handler: Handler, request: Request) -> Feed:
    """The watch that is asked for.

    Raises:
        Failure: there is none, or it is asked for wrongly.
    """
    where, query = route(request.path), request.query
    if where is None or where.name:
        raise failures.no_such_resource()
    shelf, wanted = handler.shelf(where.served), query.get("resourceVersion", "")
    streams_list = _streams_list(handler, query)
    feed = Feed(shelf, where, query.get("labelSelector", ""), len(shelf.events))
    if wanted not in ("", "0") and not streams_list:
        return _from_version(feed, int(wanted))
    objects, version = handler.seen(where.served, query)
    feed.tell_first(objects)
    feed.at = shelf.since(version)
    if streams_list:
        feed.first.append(feed.bookmark(version, all_told=True))
    return feed


def _streams_list(handler: Handler, query: Mapping[str, str]) -> bool:
    if "sendInitialEvents" not in query:
        return False
    match = query.get("resourceVersionMatch")
    if not handler.streams_lists or match != "NotOlderThan":
        said = "sendInitialEvents is forbidden for watch"
        raise failures.invalid("ListOptions", "", [failures.cause("sendInitialEvents", said)])
    return query["sendInitialEvents"] == "true"


def _from_version(feed: Feed, version: int) -> Feed:
    shelf = feed.shelf
    if version < shelf.compacted:
        feed.first = [error_line(failures.expired(version, shelf.compacted).status())]
        feed.fails = True
        return feed
    feed.at, feed.begins_after = shelf.since(version), version
    return feed


def error_line(status: Mapping[str, Any]) -> Raw:
    return {"type": "ERROR", "object": dict(status)}
