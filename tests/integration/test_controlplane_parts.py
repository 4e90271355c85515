"""The parts of the lab's control plane that need no server: files, processes, certificates."""

from __future__ import annotations

import os
import signal
import ssl
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from tandem_lab.apt import missing_packages
from tandem_lab.controlplane.apply import split_documents
from tandem_lab.controlplane.pki import Authority
from tandem_lab.controlplane.process import Process, ProcessError


def test_documents_are_split_at_markers_only() -> None:
    stream = "---\nkind: A\n--- # next\nkind: B\ntext: |\n  ---\n---\n# nothing\n"
    assert [part.strip() for part in split_documents(stream)] == [
        "kind: A",
        "kind: B\ntext: |\n  ---",
    ]


def test_missing_packages_are_told_from_installed_ones() -> None:
    assert missing_packages(["dpkg", "tandem-no-such-package"]) == ["tandem-no-such-package"]


def test_client_certificate_names_user_and_groups(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.client("tandem:host:a", ["tandem:hosts", "other"])
    subject = x509.load_pem_x509_certificate(pair.certificate).subject
    users = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    groups = subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    assert [user.value for user in users] == ["tandem:host:a"]
    assert [group.value for group in groups] == ["tandem:hosts", "other"]


def test_authority_is_kept(tmp_path: Path) -> None:
    assert Authority(tmp_path).certificate == Authority(tmp_path).certificate


def test_strict_clients_accept_the_serving_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "pki")
    pair = authority.server(["10.77.0.1", "localhost"])
    pair.write(tmp_path / "server.crt", tmp_path / "server.key")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    strict = ssl.create_default_context(cadata=authority.certificate.decode())
    strict.verify_flags |= ssl.VERIFY_X509_STRICT
    assert handshake(server, strict, "10.77.0.1")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, strict, "10.77.0.2")


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> bool:
    """A TLS handshake in memory; True once the client is content."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname=name)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    for _round in range(4):
        for side in (ours, theirs):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return ours.getpeercert() is not None


@pytest.fixture
def sleeper(tmp_path: Path) -> Process:
    return Process("sleeper", tmp_path)


def test_process_is_found_by_its_pid_file_and_stopped(sleeper: Process, tmp_path: Path) -> None:
    sleeper.start(["sleep", "60"])
    later = Process("sleeper", tmp_path)
    assert later.pid() == sleeper.pid()
    with pytest.raises(ProcessError, match="running already"):
        later.start(["sleep", "60"])
    later.stop()
    assert not sleeper.alive()
    later.stop()


def test_one_that_ignores_the_first_signal_is_stopped(sleeper: Process) -> None:
    sleeper.start(["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"])
    while "ready" not in sleeper.log_tail():
        time.sleep(0.01)
    sleeper.stop(grace_s=0.3)
    assert not sleeper.alive()
    assert not sleeper.pid_path.exists()


def test_one_that_ends_as_the_grace_is_over_is_no_error(sleeper: Process) -> None:
    for grace_s in (0.09, 0.1, 0.11, 0.12):
        sleeper.start(["sh", "-c", "trap 'sleep 0.1; exit' TERM; while :; do sleep 0.01; done"])
        time.sleep(0.1)
        sleeper.stop(grace_s)
        assert not sleeper.alive()


def test_paused_process_can_be_stopped(sleeper: Process) -> None:
    sleeper.start(["sleep", "60"])
    sleeper.pause()
    assert sleeper.alive()
    sleeper.stop()
    assert not sleeper.alive()


def test_a_reused_pid_is_not_ours(sleeper: Process) -> None:
    sleeper.pid_path.write_text(f"{os.getpid()} 1\n")
    assert not sleeper.alive()
    with pytest.raises(ProcessError, match="not running"):
        sleeper.pause()
    sleeper.stop()


def test_the_log_of_a_program_that_ended_is_told(sleeper: Process) -> None:
    sleeper.start(["sh", "-c", "echo why it ended; kill -KILL $$"])
    assert sleeper._child is not None
    assert sleeper._child.wait(10) == -signal.SIGKILL
    with pytest.raises(ProcessError, match="why it ended"):
        sleeper.require_alive()
