"""DRBD's adapter where its text is not the point: what is shared, and what a crash leaves."""

import asyncio
from pathlib import Path

import pytest

from tandem_actuator.adapters.drbd.kernel import DrbdHost
from tandem_actuator.adapters.drbd.shared_look import GATHER_S, SharedLook
from tandem_actuator.adapters.drbd.tools import Tools
from tandem_actuator.adapters.fakes import FakeClock
from tandem_actuator.adapters.linux.clock import SystemClock
from tandem_actuator.core.drbd import DrbdState, DrbdUnknown, DrbdView
from tandem_actuator.ports import CommandFailed
from tandem_api.kinds.mirror import DeviceNumbers, Mirror
from tandem_hostile import mirror

ADM = """#!/bin/sh
case "$*" in *sh-nop*) cat {folder}/*.res > {folder}/checked; test ! -e {folder}/refused;; esac
"""
OF = Mirror.parse(mirror("m"))


class Looks:
    """How often was looked; a look ends when it is told to."""

    def __init__(self) -> None:
        self.clock, self.begun, self.goes_on = FakeClock(), 0, asyncio.Event()
        self.shared = SharedLook(self.look, self.clock)

    async def look(self) -> int:
        self.begun += 1
        number = self.begun
        await self.goes_on.wait()
        return number

    async def asked(self) -> "asyncio.Task[tuple[int, float]]":
        """Each a moment after the one before."""
        self.clock.now_s += 1.0
        task = asyncio.create_task(self.shared.newer_than_now())
        await asyncio.sleep(0)
        return task


async def test_one_look_is_for_all_who_asked_before_it_began() -> None:
    """Also with hundreds of mirrors: two looks, of which the second is fresh for all the rest."""
    looks = Looks()
    tasks = [await looks.asked()]
    await asyncio.sleep(10 * GATHER_S)
    assert looks.begun == 1
    tasks += [await looks.asked() for _ in range(399)]
    looks.clock.now_s += 1.0
    looks.goes_on.set()
    seen = [await task for task in tasks]
    assert looks.begun == 2
    assert [number for number, _ in seen] == [1] + 399 * [2]


async def test_who_asks_in_the_same_moment_shares_the_look() -> None:
    looks, asked_s = Looks(), FakeClock().now_s
    tasks = [asyncio.create_task(looks.shared.newer_than_now()) for _ in range(400)]
    await asyncio.sleep(0)
    looks.clock.now_s += 1.0
    looks.goes_on.set()
    seen = [await task for task in tasks]
    assert looks.begun == 1
    assert min(began_s for _, began_s in seen) > asked_s


async def test_a_look_that_is_given_up_is_made_by_the_next() -> None:
    """Who looks has a time limit; who waits for that look goes on waiting for one."""
    looks = Looks()
    first, second = [await looks.asked() for _ in range(2)]
    await asyncio.sleep(10 * GATHER_S)
    assert looks.begun == 1
    first.cancel()
    looks.clock.now_s += 1.0
    looks.goes_on.set()
    assert (await second)[0] == 2


async def test_nobody_gets_a_look_that_began_before_they_asked() -> None:
    looks = Looks()
    looks.goes_on.set()
    for number in range(1, 4):
        task = await looks.asked()
        assert (await task)[0] == number


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    adm = tmp_path / "adm"
    adm.write_text(ADM.format(folder=tmp_path))
    adm.chmod(0o755)
    return tmp_path


def host(folder: Path) -> DrbdHost:
    tools = Tools(version="8.4.11", utils_version="9.22.0", adm=str(folder / "adm"))
    return DrbdHost(tools, SystemClock(), folder)


def files(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.glob(f"{OF.drbd_name}*")}


NAME = f"{OF.drbd_name}.res"


class TestConfigure:
    async def test_what_contradicts_another_file_is_taken_back(self, folder: Path) -> None:
        assert await host(folder).configure(OF, "old")
        (folder / "refused").touch()
        with pytest.raises(CommandFailed):
            await host(folder).configure(OF, "new")
        assert files(folder) == {NAME: "old"}

    async def test_a_first_one_that_contradicts_another_is_removed(self, folder: Path) -> None:
        (folder / "refused").touch()
        with pytest.raises(CommandFailed):
            await host(folder).configure(OF, "new")
        assert files(folder) == {}

    @pytest.mark.parametrize("old", ["", "old"])
    @pytest.mark.parametrize("refused", [True, False])
    async def test_one_that_a_crash_left_unchecked_is_checked(
        self, folder: Path, old: str, refused: bool
    ) -> None:
        """It says what is wanted, so nothing would ever look at it again."""
        (folder / NAME).write_text("new")
        (folder / f"{NAME}.before").write_text(old)
        if refused:
            (folder / "refused").touch()
            with pytest.raises(CommandFailed):
                await host(folder).configure(OF, "new")
            assert files(folder) == ({NAME: old} if old else {})
        else:
            assert not await host(folder).configure(OF, "new")
            assert files(folder) == {NAME: "new"}

    async def test_one_that_is_as_it_was_is_not_checked_again(self, folder: Path) -> None:
        await host(folder).configure(OF, "text")
        (folder / "checked").unlink()
        assert not await host(folder).configure(OF, "text")
        assert not (folder / "checked").exists()


DUMP = """#!/bin/sh
cat << END
exists resource name:ns.m role:{role} suspended:no write-ordering:flush
exists connection name:ns.m peer-node-id:1 conn-name:x connection:Connected role:Secondary
exists device name:ns.m volume:0 minor:{minor} disk:UpToDate size:1048576
exists peer-device name:ns.m peer-node-id:1 volume:0 replication:Established peer-disk:UpToDate
exists -
END
"""


class TestAVolumeThatTheKernelLacks:
    """It got a number while the mirror was in use. What runs goes on with what it has."""

    async def view(self, folder: Path, role: str, minor: int = 0) -> DrbdView:
        setup = folder / "setup"
        setup.write_text(DUMP.format(role=role, minor=minor))
        setup.chmod(0o755)
        tools = Tools(version="8.4.11", utils_version="9.22.0", setup=str(setup))
        numbers = DeviceNumbers(port=7789, minors={"added": 1, "root": 0})
        status = OF.status.model_copy(update={"device_numbers": numbers})
        of = OF.model_copy(update={"status": status})
        return await DrbdHost(tools, SystemClock(), folder).query(of)

    async def test_a_primary_is_seen_without_it(self, folder: Path) -> None:
        view = await self.view(folder, "Primary")
        assert isinstance(view, DrbdState), view
        assert list(view.volumes) == ["root"]
        assert view.in_sync

    async def test_whichever_number_it_got(self, folder: Path) -> None:
        view = await self.view(folder, "Primary", minor=1)
        assert isinstance(view, DrbdState), view
        assert list(view.volumes) == ["added"]

    async def test_a_secondary_may_have_lost_it(self, folder: Path) -> None:
        view = await self.view(folder, "Secondary")
        assert isinstance(view, DrbdUnknown)
        assert "remove it from spec.volumes and from status.deviceNumbers.minors" in view.message

    async def test_a_device_that_is_nobodys_is_not_taken_for_one(self, folder: Path) -> None:
        assert isinstance(await self.view(folder, "Primary", minor=7), DrbdUnknown)
