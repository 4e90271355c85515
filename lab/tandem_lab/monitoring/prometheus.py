"""Run Debian's Prometheus against the lab's programs, with the alert rules that are shipped.

The package is unpacked into the lab's cache: nothing is installed, no service starts, and there
is no web interface (its files are other packages). Rule files are checked before the start, so
that a typing error is reported as such. Alerts are evaluated here and sent nowhere.

Called by the lab and by tests of the alert rules.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import yaml

from tandem_lab.apt import Progress, unpacked_packages
from tandem_lab.controlplane.process import Process
from tandem_lab.namespace import inside

APT_PACKAGES = ("prometheus",)
NETNS_PORT = 9090
READY_TIMEOUT_S = 30.0
READY_POLL_S = 0.1
REQUEST_TIMEOUT_S = 10.0
PROMTOOL_TIMEOUT_S = 60.0


class PrometheusError(RuntimeError):
    """Prometheus is not ready in time, refuses a query, or promtool finds fault."""


class Prometheus:
    """One Prometheus with its state in `state_dir`, inside namespace `netns` if given.

    `targets` maps a job's name to the addresses (`host:port`) whose `/metrics` it scrapes.
    """

    def __init__(
        self,
        state_dir: Path,
        netns: str | None,
        targets: Mapping[str, Sequence[str]],
        rule_files: Sequence[Path],
        *,
        scrape_interval_s: float = 1.0,
        port: int = 0,
        die_with_parent: bool = False,
    ) -> None:
        self.state_dir = state_dir.absolute()
        self.netns = netns
        self.targets = {job: list(addresses) for job, addresses in targets.items()}
        self.rule_files = [path.absolute() for path in rule_files]
        self.scrape_interval_s = scrape_interval_s
        self.state_dir.mkdir(parents=True, exist_ok=True)
        self._port = port
        self._die_with_parent = die_with_parent
        self._process = Process("prometheus", self.state_dir)

    def start(self, *, keep: bool = False) -> None:
        """Start it and wait until it is ready; `keep` takes over the samples of the last run.

        Raises PrometheusError for faulty rules or if it is not ready in time.
        """
        self.stop()
        if not keep:
            shutil.rmtree(self._samples, ignore_errors=True)
        if self.rule_files:
            promtool("check", "rules", *map(str, self.rule_files))
        self._config.write_text(yaml.safe_dump(self.configuration(), sort_keys=False))
        self._port_file.write_text(f"{self._port or self._choose_port()}\n")
        self._process.start(
            self._command(), netns=self.netns, die_with_parent=self._die_with_parent
        )
        self._wait_ready()

    def stop(self) -> None:
        """Stop it; fine when it does not run. Its samples stay in the state folder."""
        self._process.stop()

    def alerts(self) -> list[dict[str, Any]]:
        """Pending and firing alerts: `labels`, `annotations`, `state`, `activeAt`, `value`."""
        alerts: list[dict[str, Any]] = self._api("alerts")["alerts"]
        return alerts

    def firing(self) -> set[str]:
        """The names of the alerts that fire now."""
        return {
            str(alert["labels"]["alertname"])
            for alert in self.alerts()
            if alert["state"] == "firing"
        }

    def query(self, query: str) -> list[dict[str, Any]]:
        """The samples of an instant query: `metric` (labels) and `value` ([time, text])."""
        result: list[dict[str, Any]] = self._api("query", query=query)["result"]
        return result

    def configuration(self) -> dict[str, Any]:
        """Prometheus' own configuration file, as a value."""
        interval = f"{round(self.scrape_interval_s * 1000)}ms"
        return {
            "global": {
                "scrape_interval": interval,
                "scrape_timeout": interval,
                "evaluation_interval": interval,
            },
            "rule_files": [str(path) for path in self.rule_files],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": addresses}]}
                for job, addresses in self.targets.items()
            ],
        }

    @property
    def url(self) -> str:
        """Its base address, valid where it runs. Known once it was started."""
        return f"http://127.0.0.1:{self._port_file.read_text().strip()}"

    @property
    def _config(self) -> Path:
        return self.state_dir / "prometheus.yml"

    @property
    def _port_file(self) -> Path:
        return self.state_dir / "port"

    @property
    def _samples(self) -> Path:
        return self.state_dir / "samples"

    def _command(self) -> list[str]:
        return [
            str(_binary("prometheus")),
            f"--config.file={self._config}",
            f"--storage.tsdb.path={self._samples}",
            f"--web.listen-address={self.url.removeprefix('http://')}",
            "--log.level=warn",
        ]

    def _choose_port(self) -> int:
        if self.netns:
            return NETNS_PORT
        with socket.create_server(("127.0.0.1", 0)) as server:
            return int(server.getsockname()[1])

    def _wait_ready(self) -> None:
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while not self._ready():
            self._process.require_alive()
            if time.monotonic() > deadline_s:
                tail = self._process.log_tail()
                raise PrometheusError(f"not ready within {READY_TIMEOUT_S:.0f} s:\n{tail}")
            time.sleep(READY_POLL_S)

    def _ready(self) -> bool:
        try:
            self._get("/-/ready")
        except OSError:  # refused, timed out, or an HTTP status that says not yet
            return False
        return True

    def _api(self, endpoint: str, **parameters: str) -> dict[str, Any]:
        query = urllib.parse.urlencode(parameters)
        try:
            answer = json.loads(self._get(f"/api/v1/{endpoint}?{query}"))
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")
            raise PrometheusError(f"{endpoint} {parameters}: {said}") from error
        data: dict[str, Any] = answer["data"]
        return data

    def _get(self, path: str) -> bytes:
        # Without a proxy: the address is never outside this machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with (
            inside(self.netns) if self.netns else nullcontext(),
            opener.open(self.url + path, timeout=REQUEST_TIMEOUT_S) as answer,
        ):
            body: bytes = answer.read()
            return body


def promtool(*arguments: str, progress: Progress = print) -> str:
    """Run promtool (`check rules FILE…`, `test rules FILE…`); PrometheusError with its words."""
    result = subprocess.run(
        [_binary("promtool", progress), *arguments],
        capture_output=True,
        text=True,
        timeout=PROMTOOL_TIMEOUT_S,
        check=False,
    )
    if result.returncode != 0:
        raise PrometheusError(f"promtool {' '.join(arguments)}:\n{result.stdout}{result.stderr}")
    return result.stdout


def _binary(name: str, progress: Progress = print) -> Path:
    installed = shutil.which(name)
    if installed:
        return Path(installed)
    return unpacked_packages("prometheus", APT_PACKAGES, progress) / "usr/bin" / name
