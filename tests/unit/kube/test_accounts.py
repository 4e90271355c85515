"""A pod's token is read again by the monotonic clock, whatever the wall clock is set to."""

from pathlib import Path
from typing import Any

import certifi
import pytest
from kubernetes.aio.client import Configuration
from kubernetes.aio.config import incluster_config

from tandem_kube.accounts import READ_AGAIN_S, AccountToken
from tandem_kube.errors import Unavailable
from tandem_kube.transport import open_transport

NOBODY = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "1"}


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "token"
    found.write_text("first\n")
    return found


@pytest.fixture
def token(path: Path, clock: Clock) -> AccountToken:
    return AccountToken(path, clock)


def replaced(path: Path, content: bytes | None) -> None:
    """None: the file is gone."""
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_bytes(content)


async def sent(configuration: Configuration) -> str | None:
    """What a request says who it is from."""
    return await configuration.get_api_key_with_prefix("BearerToken")


@pytest.fixture
def configuration(token: AccountToken) -> Configuration:
    made = Configuration(host="https://api.example.org:6443")
    hook: Any = token.refresh
    made.refresh_api_key_hook = hook
    return made


async def test_a_token_that_was_replaced_is_used(
    configuration: Configuration, path: Path, clock: Clock
) -> None:
    assert await sent(configuration) == "bearer first"
    replaced(path, b"second")
    clock.now_s = READ_AGAIN_S - 1
    assert await sent(configuration) == "bearer first"
    clock.now_s = READ_AGAIN_S
    assert await sent(configuration) == "bearer second"


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff", None])
async def test_a_token_that_cannot_be_read_changes_nothing(
    configuration: Configuration, path: Path, clock: Clock, content: bytes | None
) -> None:
    assert await sent(configuration) == "bearer first"
    replaced(path, content)
    clock.now_s = READ_AGAIN_S
    assert await sent(configuration) == "bearer first"
    replaced(path, b"third")
    clock.now_s = 2 * READ_AGAIN_S
    assert await sent(configuration) == "bearer third"


async def test_a_program_in_a_pod_reads_it_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's own way would send the first one for a minute by the wall clock."""
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(path))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", certifi.where())
    for name, value in NOBODY.items():
        monkeypatch.setenv(name, value)
    transport = await open_transport(None)
    replaced(path, b"second")
    with pytest.raises(Unavailable):
        await transport.call("GET", "/", timeout_s=5.0)
    assert transport.connection().token == "second"
    await transport.close()
