"""The way between two hosts' libvirt, end to end: what is expected passes, and nothing else."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import libvirt
import pytest

from tandem_actuator.adapters.migration import live
from tandem_actuator.adapters.migration.gate import Gate
from tandem_actuator.adapters.migration.live import LiveMigrations
from tandem_actuator.adapters.migration.rpc import CLOSE, ERROR, EVENT, REPLY
from tandem_actuator.adapters.migration.streams import LIBVIRT, QEMU, Ends, Tls
from tandem_actuator.ports import CommandFailed, PortError
from tandem_actuator.ports.migration import Arrival, Destination

from .migration_frames import NAME, finish, keepalive, message, opening, prepare
from .passage_bench import (
    SOON_S,
    A,
    B,
    Bench,
    Ca,
    M,
    asked,
    bench,
    ended,
    free_port,
    is_reply,
    short_folder,
)

LIST = 37


@pytest.fixture
async def scene() -> AsyncIterator[Bench]:
    async with bench() as made:
        yield made


def prepared(scene: Bench) -> bytes:
    return prepare(migrate_uri=f"unix://{scene.qemu}")


class TestLibvirt:
    async def test_a_migration_that_is_expected_gets_through(self, scene: Bench) -> None:
        scene.expect()
        async with scene.way() as here:
            client = await scene.client(here)
            for raw in (opening(), prepared(scene), finish(), message(CLOSE)):
                assert is_reply(await asked(client, raw))
            assert [frame.raw for frame in scene.daemon.heard] == [
                *(opening(), prepared(scene), finish(), message(CLOSE))
            ]

    async def test_what_is_no_part_of_it_is_answered_with_an_error_and_heard_by_nobody(
        self, scene: Bench
    ) -> None:
        scene.expect()
        async with scene.way() as here:
            client = await scene.client(here)
            answer = await asked(client, message(LIST, serial=9))
            assert (answer.kind, answer.serial, answer.status) == (REPLY, 9, ERROR)
            assert b"procedure 37 is not for a migration" in answer.payload
            assert is_reply(await asked(client, opening())), "the connection is good for more"
            assert [frame.raw for frame in scene.daemon.heard] == [opening()]

    async def test_another_guest_is_refused_in_words(self, scene: Bench) -> None:
        scene.expect("it reaches /etc/shadow")
        async with scene.way() as here:
            answer = await asked(await scene.client(here), prepared(scene))
            assert b"the target's Tandem: it reaches /etc/shadow" in answer.payload
            assert scene.daemon.heard == []

    @pytest.mark.parametrize(
        "raw",
        [
            message(LIST, program=0x20008087),
            message(CLOSE, kind=3),
            b"\xff\xff\xff\xff" + b"\0" * 64,
            b"\0\0\0\1",
        ],
        ids=["another-program", "stream", "too-long", "too-short"],
    )
    async def test_what_is_no_call_ends_it(self, scene: Bench, raw: bytes) -> None:
        scene.expect()
        async with scene.way() as here:
            client = await scene.client(here)
            assert is_reply(await asked(client, opening()))
            client.writer.write(raw)
            assert await ended(client) == b""
            async with asyncio.timeout(SOON_S):
                await scene.daemon.gone.wait()
            assert len(scene.daemon.heard) == 1

    async def test_signs_of_life_pass_both_ways_and_events_do_not(self, scene: Bench) -> None:
        scene.expect()
        event = message(318, b"an event", kind=EVENT)
        scene.daemon.says = [event, keepalive(2)]
        async with scene.way() as here:
            client = await scene.client(here)
            assert (await asked(client, keepalive())).raw == keepalive(2)
            assert scene.daemon.heard[0].raw == keepalive()

    async def test_when_the_client_ends_the_daemon_hears_of_it_at_once(self, scene: Bench) -> None:
        """A half that nobody asks for is removed."""
        scene.expect()
        async with scene.way() as here:
            client = await scene.client(here)
            assert is_reply(await asked(client, opening()))
            client.close()
            async with asyncio.timeout(SOON_S):
                await scene.daemon.gone.wait()

    async def test_when_the_source_closes_its_end_both_hear_of_it(self, scene: Bench) -> None:
        scene.expect()
        async with scene.way() as here:
            client = await scene.client(here)
            assert is_reply(await asked(client, opening()))
        assert await ended(client) == b""
        async with asyncio.timeout(SOON_S):
            await scene.daemon.gone.wait()
        assert not here.exists()

    async def test_to_forget_it_ends_what_is_under_way(self, scene: Bench) -> None:
        scene.expect()
        async with scene.way() as here:
            client = await scene.client(here)
            assert is_reply(await asked(client, opening()))
            scene.gate.forget(NAME)
            assert await ended(client) == b""
            async with asyncio.timeout(SOON_S):
                await scene.daemon.gone.wait()
            assert not scene.qemu.parent.exists()
            again = await scene.client(here)
            assert await ended(again) == b""

    async def test_so_does_the_next_one_of_the_same_guest(self, scene: Bench) -> None:
        scene.expect()
        async with scene.way() as here:
            client = await scene.client(here)
            assert is_reply(await asked(client, opening()))
            scene.expect()
            assert await ended(client) == b""
            assert scene.qemu.parent.exists()


class TestNotExpected:
    async def heard(self, scene: Bench, greeting: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", scene.gate.port)
        writer.write(greeting)
        try:
            return await ended(Ends(reader, writer))
        finally:
            writer.close()

    @pytest.mark.parametrize(
        "greeting",
        [
            b"libvirt ns.other m1\n",
            b"libvirt ns.g m0\n",
            b"other ns.g m1\n",
            b"libvirt ns.g\n",
            b"libvirt ns.g m1 more\n",
            b"\n",
            b"\xff\xfe\n",
            b"x" * 100_000 + b"\n",
        ],
        ids=["name", "migration", "stream", "short", "long", "empty", "no-text", "endless"],
    )
    async def test_it_is_closed_without_a_byte(self, scene: Bench, greeting: bytes) -> None:
        scene.expect()
        assert await self.heard(scene, greeting + opening()) == b""
        assert not scene.daemon.connected.is_set()

    async def test_nothing_is_let_in_where_nothing_is_expected(self, scene: Bench) -> None:
        assert await self.heard(scene, b"libvirt ns.g m1\n" + opening()) == b""
        assert not scene.daemon.connected.is_set()

    async def test_who_hangs_up_is_no_trouble(self, scene: Bench) -> None:
        scene.expect()
        _, writer = await asyncio.open_connection("127.0.0.1", scene.gate.port)
        writer.write(b"libvi")
        writer.close()
        async with scene.way() as here:
            assert is_reply(await asked(await scene.client(here), opening()))


class TestQemu:
    async def test_memory_passes_both_ways_as_it_is(self, scene: Bench) -> None:
        scene.expect()
        got = asyncio.Event()
        data = bytes(range(256)) * 8192

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert await reader.readexactly(len(data)) == data
            writer.write(b"all of it")
            writer.write_eof()
            assert await reader.read() == b""
            got.set()
            writer.close()

        server = await asyncio.start_unix_server(serve, scene.qemu)
        async with scene.way() as here:
            client = await scene.client(here, QEMU)
            client.writer.write(data)
            assert await ended(client) == b"all of it"
            client.writer.write_eof()
            async with asyncio.timeout(SOON_S):
                await got.wait()
        server.close()

    async def test_it_is_closed_where_no_qemu_listens(self, scene: Bench) -> None:
        scene.expect()
        async with scene.way() as here:
            assert await ended(await scene.client(here, QEMU)) == b""

    async def test_its_folder_is_for_qemu_alone(self, scene: Bench) -> None:
        scene.expect()
        assert scene.qemu.parent.stat().st_mode & 0o777 == 0o700


class TestTls:
    @pytest.fixture
    def ca(self) -> Ca:
        return Ca()

    async def opened(self, target: Tls, source: Tls | None, peer: str = A) -> bool:
        """Whether the source reaches the target's daemon."""
        async with bench(target, source) as scene:
            scene.expect(peer=peer)
            async with scene.way() as here:
                client = await scene.client(here)
                client.writer.write(opening())
                try:
                    async with asyncio.timeout(SOON_S):
                        answered = bool(await client.reader.read(1))
                except ConnectionError:
                    answered = False
            assert answered is scene.daemon.connected.is_set()
            return answered

    async def test_two_hosts_of_one_authority_meet(self, ca: Ca, tmp_path: Path) -> None:
        assert await self.opened(ca.folder(tmp_path / B, B), ca.folder(tmp_path / A, A))

    async def test_another_host_than_the_source_is_refused(self, ca: Ca, tmp_path: Path) -> None:
        target, other = ca.folder(tmp_path / B, B), ca.folder(tmp_path / "c", "c-1")
        assert not await self.opened(target, other)
        assert await self.opened(target, other, peer="c-1")

    async def test_the_source_refuses_another_host_than_the_target(
        self, ca: Ca, tmp_path: Path
    ) -> None:
        target, source = ca.folder(tmp_path / "c", "c-1"), ca.folder(tmp_path / A, A)
        assert not await self.opened(target, source)

    async def test_a_certificate_of_another_authority_is_refused(
        self, ca: Ca, tmp_path: Path
    ) -> None:
        assert not await self.opened(ca.folder(tmp_path / B, B), Ca().folder(tmp_path / A, A))

    async def test_nobody_is_let_in_in_the_clear(self, ca: Ca, tmp_path: Path) -> None:
        assert not await self.opened(ca.folder(tmp_path / B, B), None)

    async def test_nor_does_a_source_speak_to_a_target_in_the_clear(
        self, ca: Ca, tmp_path: Path
    ) -> None:
        async with bench(None, ca.folder(tmp_path / A, A)) as scene:
            scene.expect()
            async with scene.way() as here:
                assert await ended(await scene.client(here)) == b""
            assert not scene.daemon.connected.is_set()


class TestPort:
    async def test_a_port_that_is_taken_is_said(self) -> None:
        with socket.socket() as other, short_folder() as folder:
            other.bind(("0.0.0.0", 0))
            other.listen()
            gate = Gate(other.getsockname()[1], folder, folder / "libvirtd", None)
            with pytest.raises(PortError, match="guests cannot be taken in at port"):
                await gate.open()

    async def test_a_folder_without_certificates_is_said(self, tmp_path: Path) -> None:
        gate = Gate(free_port(), tmp_path, tmp_path / "libvirtd", Tls(tmp_path))
        with pytest.raises(PortError, match="guests cannot be taken in at port"):
            await gate.open()

    async def test_what_was_never_opened_closes_too(self, tmp_path: Path) -> None:
        gate = Gate(free_port(), tmp_path, tmp_path / "libvirtd", None)
        await gate.close()
        gate.forget(NAME)


class TestLiveMigrations:
    async def test_it_expects_what_arrives_by_this_hosts_description(self) -> None:
        async with bench() as scene:
            own = "<domain><name>ns.g</name><uuid>1</uuid></domain>"
            port = LiveMigrations("qemu:///system", scene.gate, scene.folder, None)
            assert port.port == scene.gate.port
            await port.receive(Arrival(NAME, M, A, own))
            async with scene.way() as here:
                client = await scene.client(here)
                uri = f"unix://{scene.qemu}"
                sent = prepare(migrate_uri=uri, destination_xml=own)
                assert is_reply(await asked(client, sent))
                other = prepare(migrate_uri=uri, destination_xml=own.replace("ns.g", "ns.h"))
                assert b"its name is ns.h" in (await asked(client, other)).payload
                await port.stop_receiving(NAME)
                assert await ended(client) == b""

    async def test_what_libvirt_says_is_the_failure_and_nothing_stays_behind(self) -> None:
        with short_folder() as folder:
            gate = Gate(free_port(), folder, folder / "libvirtd", None)
            port = LiveMigrations("nonsense:///system", gate, folder, None)
            with pytest.raises(CommandFailed, match=r"^libvirt: "):
                await port.send(NAME, M, Destination(B, "127.0.0.1", gate.port))
            assert not (folder / M).exists()

    async def test_a_way_that_cannot_be_opened_is_said(self, tmp_path: Path) -> None:
        file = tmp_path / "file"
        file.write_text("")
        port = LiveMigrations("qemu:///system", Gate(1, file, file, None), file, None)
        with pytest.raises(CommandFailed, match=f"cannot open the way to {B}"):
            await port.send(NAME, M, Destination(B, "127.0.0.1", 1))

    async def test_to_stop_it_closes_the_way_and_asks_no_libvirt(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """libvirt's library may be waiting for an answer that never comes."""

        def waits(uri: str, name: str, folder: Path) -> None:
            with socket.socket(socket.AF_UNIX) as there:
                there.connect(str(folder / LIBVIRT))
                there.settimeout(10.0)
                assert there.recv(1) == b""
            raise libvirt.libvirtError("client socket is closed")

        monkeypatch.setattr(live, "_migrate", waits)
        async with bench() as scene:
            scene.expect()
            source = scene.folder / "source"
            port = LiveMigrations("qemu:///system", scene.gate, source, None)
            sending = asyncio.create_task(
                port.send(NAME, M, Destination(B, "127.0.0.1", scene.gate.port))
            )
            await asyncio.wait_for(scene.daemon.connected.wait(), SOON_S)
            await port.stop_sending(NAME)
            with pytest.raises(CommandFailed):
                await asyncio.wait_for(sending, SOON_S)
            await port.stop_sending(NAME)
