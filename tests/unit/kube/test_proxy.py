"""The way to the server that the environment names, asked for once."""

import pytest
from kubernetes.aio.client import Configuration

from tandem_kube.transport import HttpTransport, proxy_of_environment

SERVER, PROXY = "https://api.example.org:6443", "http://proxy.example.org:3128"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_none_is_named() -> None:
    assert proxy_of_environment(SERVER) is None


def test_one_is_named_and_this_server_is_no_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", PROXY)
    assert proxy_of_environment(SERVER) == PROXY
    monkeypatch.setenv("no_proxy", "api.example.org")
    assert proxy_of_environment(SERVER) is None


async def test_no_request_asks_for_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each would wait for two threads first."""
    monkeypatch.setenv("https_proxy", PROXY)
    configuration = Configuration(host=SERVER)
    transport = HttpTransport(configuration)
    assert configuration.proxy == PROXY
    assert (configuration.client_session_kwargs or {})["trust_env"] is False
    await transport.close()


async def test_what_the_kubeconfig_names_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", PROXY)
    configuration = Configuration(host=SERVER)
    configuration.proxy = "http://other.example.org:1"
    transport = HttpTransport(configuration)
    assert configuration.proxy == "http://other.example.org:1"
    await transport.close()
