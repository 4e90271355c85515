"""/metrics, /healthz and /readyz over HTTP.

Healthy: the planning loop still turns, whether or not the API answers (a restart would not bring
the API back). Ready: everything was listed once and the Leases can be read. Called by ``assembly``.
"""

import asyncio
import logging
from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

log = logging.getLogger(__name__)


class HealthServer:
    """Serves until ``stop``. Checks return why not, or an empty string."""

    def __init__(
        self,
        registry: CollectorRegistry,
        healthy: Callable[[], str],
        ready: Callable[[], str],
    ) -> None:
        self._registry, self._healthy, self._ready = registry, healthy, ready
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self, address: str, port: int) -> None:
        """Port 0 chooses a free one, see ``port``. OSError if it is taken."""
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/readyz", self._readiness)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, address, port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        log.info("metrics and health on %s:%d", address, self.port)

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _health(self, _: web.Request) -> web.Response:
        return _answer(self._healthy())

    async def _readiness(self, _: web.Request) -> web.Response:
        return _answer(self._ready())

    async def _metrics(self, _: web.Request) -> web.Response:
        # With thousands of guests it takes long, and the Leases are read on this loop.
        body = await asyncio.to_thread(generate_latest, self._registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})


def _answer(problem: str) -> web.Response:
    return web.Response(text=f"{problem or 'ok'}\n", status=503 if problem else 200)
