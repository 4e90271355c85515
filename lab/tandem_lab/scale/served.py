"""The simulator's API server behind HTTP, for real programs in processes of their own.

It answers at once, checks the form of what is written, and no rights: it stands for a server that
is no bottleneck, and bounds nothing but by its share of the processor. What it has been asked is
told to ``heard``. Called by the benchmarks of scale.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from sim.apiserver.failures import Failure
from sim.apiserver.feed import open_feed
from sim.apiserver.handler import Request
from sim.apiserver.kinds import served_kinds
from sim.apiserver.server import Server
from tandem_api import registry
from tandem_api.meta import GROUP, VERSION

Raw = dict[str, Any]
BODY_LIMIT = 2**24
WATCH_S = 1800.0
VERBS = ("create", "delete", "get", "list", "patch", "update", "watch")
Heard = Callable[[str, str, Raw | None], None]
"""The method (also WATCH), the path, what was written (None: nothing was, or it was refused)."""


class Served:
    """``server`` on a free port of the loopback."""

    def __init__(self, server: Server, heard: Heard) -> None:
        self._server, self._heard = server, heard
        self._runner: web.AppRunner | None = None
        self._texts: dict[int, tuple[Raw, bytes]] = {}
        """Of stored objects, which never change in place."""
        self.url = ""

    async def start(self) -> None:
        app = web.Application(client_max_size=BODY_LIMIT)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, asked: web.Request) -> web.StreamResponse:
        found = _discovered(asked.path)
        if found is not None:
            return web.json_response(found)
        body = await asked.text()
        request = Request(asked.method, asked.path, asked.query, body, asked.content_type)
        if "watch" in asked.query:
            self._heard("WATCH", asked.path, None)
            return await self._watch(asked, request)
        code, answer = self._server.handler.answer(request)
        self._heard(asked.method, asked.path, answer if request.writes and code < 300 else None)
        text = self._list(answer) if "items" in answer else self._text(answer)
        return web.Response(body=text, status=code, content_type="application/json")

    async def _watch(self, asked: web.Request, request: Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        try:
            feed = open_feed(self._server.handler, request)
        except Failure as failure:
            return web.json_response(failure.status(), status=failure.code)
        news = asyncio.Event()
        await response.prepare(asked)
        await self._tell(response, feed.first)
        feed.shelf.watchers.append(news.set)
        try:
            async with asyncio.timeout(float(asked.query.get("timeoutSeconds", WATCH_S))):
                while not feed.fails:
                    await self._tell(response, feed.take(len(feed.shelf.events)))
                    await news.wait()
                    news.clear()
        except (TimeoutError, ConnectionError):
            pass
        finally:
            feed.shelf.watchers.remove(news.set)
        return response

    async def _tell(self, response: web.StreamResponse, lines: list[Raw]) -> None:
        if lines:
            texts = (
                b'{"type":"%s","object":%s}\n' % (line["type"].encode(), self._text(line["object"]))
                for line in lines
            )
            await response.write(b"".join(texts))

    def _list(self, answer: Raw) -> bytes:
        head = {name: value for name, value in answer.items() if name != "items"}
        items = b",".join(self._text(item) for item in answer["items"])
        return b'%s,"items":[%s]}' % (json.dumps(head).encode()[:-1], items)

    def _text(self, raw: Raw) -> bytes:
        known = self._texts.get(id(raw))
        if known is None or known[0] is not raw:
            known = self._texts[id(raw)] = raw, json.dumps(raw, separators=(",", ":")).encode()
        return known[1]


def _discovered(path: str) -> Mapping[str, Any] | None:
    """What kopf looks up first; None for all else."""
    match path.strip("/"):
        case "api":
            return {"versions": ["v1"]}
        case "api/v1":
            namespaces = {"name": "namespaces", "singularName": "namespace", "kind": "Namespace"}
            return {"resources": [{**namespaces, "namespaced": False, "verbs": VERBS}]}
        case "apis":
            version = {"groupVersion": f"{GROUP}/{VERSION}", "version": VERSION}
            found = {"name": GROUP, "versions": [version], "preferredVersion": version}
            return {"groups": [found]}
        case found if found == f"apis/{GROUP}/{VERSION}":
            return {"resources": [_resource(info) for info in registry.KINDS]}
    return None


def _resource(info: registry.KindInfo[Any]) -> Raw:
    return {
        "name": info.plural,
        "singularName": info.kind.lower(),
        "kind": info.kind,
        "namespaced": info.namespaced,
        "verbs": VERBS,
    }


def filled(objects: Mapping[str, Mapping[Any, Raw]], namespace: str, now: Any) -> Server:
    """A server that has these objects, by kind and key, and checks nobody's rights."""
    server = Server(now, policed=False)
    server.handler.namespaces.add(namespace)
    server.handler.applies_rules = False
    server.handler.admission = lambda *_: ""
    plurals = {served.kind.name: served for served in served_kinds().values()}
    for kind, found in objects.items():
        served = plurals[kind]
        for key, raw in found.items():
            known = {"apiVersion": served.kind.api_version, "kind": kind}
            server.store.write(served.kind.plural, key, {**known, **raw})
    return server
