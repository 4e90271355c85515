"""DRBD on this host through its own tools: the Drbd port for 8.4 and 9.

What needs the configuration (create-md, attach, connect, changed options) goes through drbdadm,
so that drbd-utils alone translates a resource file into kernel requests. What does not (promote,
demote, resume-io, queries) goes to drbdsetup itself: drbdadm has timers of its own, which would
leave a promotion behind that nobody waits for any more.

Never connects by attaching, never passes ``--force`` unless asked to, never sets up or takes down
anything by itself. Called by ``driver`` and ``loop`` through ``ports.Drbd``.
"""

import asyncio
import contextlib
import shlex
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from pathlib import Path

from tandem_actuator.adapters.drbd import text as drbd_text
from tandem_actuator.adapters.drbd.block import SYS_BLOCK
from tandem_actuator.adapters.drbd.drafts import (
    METADATA_TIMEOUT_S,
    kept_path,
    put_back,
    refuse_foreign_data,
)
from tandem_actuator.adapters.drbd.events import EventStream
from tandem_actuator.adapters.drbd.looks import Looks, Sockets
from tandem_actuator.adapters.drbd.readable import Readable
from tandem_actuator.adapters.drbd.tools import (
    COMMAND_TIMEOUT_S,
    DRBD_DIR,
    Tools,
    read_or_none,
)
from tandem_actuator.adapters.files.files import replace_file
from tandem_actuator.adapters.linux.process import Finished, run
from tandem_actuator.adapters.linux.sockets import LinuxSockets
from tandem_actuator.core.drbd import DrbdState, DrbdUnknown, DrbdView, Generation, Metadata
from tandem_actuator.ports import Clock, CommandFailed, PortError
from tandem_actuator.ports.drbd import DrbdEvent
from tandem_api.kinds.mirror import InitialData, Mirror
from tandem_api.timing import PROMOTION_HANDLER_BUDGET_S
from tandem_api.vocabulary import Connection

QUERY_TIMEOUT_S = 0.5
# The kernel calls the handler up to four times (drbd_set_role, max_tries) and cannot be stopped.
# The fence-peer program gives up a second after the budget, and takes a moment to start.
PROMOTE_TIMEOUT_S = 4 * (PROMOTION_HANDLER_BUDGET_S + 2.5)

PROC_DRBD = Path("/proc/drbd")

# drbdmeta dump-md: nothing there; attached at present; not detached before the last power cut.
NO_METADATA = "No valid meta data found"
METADATA_IN_USE = ("is configured", "unclean")
# drbdsetup: the kernel refused, and its reason is in the text as a number.
ALREADY_DISCONNECTED = "(162)"
# It is 8.4 at the peer, which can be told to take all, but not what it lacks.
OLDER_PROTOCOL = "(175)"
# What a changed file may be applied with while the resource is in use.
OPTION_COMMANDS = frozenset(
    {"resource-options", "disk-options", "net-options", "peer-device-options"}
)


class DrbdHost:
    """The Drbd port on the machine that this process runs on."""

    def __init__(
        self,
        tools: Tools,
        clock: Clock,
        drbd_dir: Path = DRBD_DIR,
        proc_drbd: Path = PROC_DRBD,
        sys_block: Path = SYS_BLOCK,
        sockets: Sockets | None = None,
    ) -> None:
        self.tools = tools
        self._drbd_dir = drbd_dir
        self._readable = Readable(tools.adm, clock)
        self._stream = EventStream(tools.setup)
        tcp = sockets or LinuxSockets(clock)
        self.looks = Looks(tools, self._stream, clock, proc_drbd, sys_block, tcp)
        self._config_lock = asyncio.Lock()

    # --- looking

    async def query(self, mirror: Mirror) -> DrbdView:
        try:
            async with asyncio.timeout(QUERY_TIMEOUT_S):
                return await self.looks.at(mirror)
        except TimeoutError:
            return DrbdUnknown(f"DRBD did not answer within {QUERY_TIMEOUT_S:g} s")
        except (PortError, OSError, ValueError) as error:
            return DrbdUnknown(f"{mirror.drbd_name}: {error}")

    async def events(self) -> AsyncIterator[DrbdEvent]:
        async for event in self._stream.follow():
            yield event

    async def versions(self) -> Mapping[str, str]:
        return {"drbd": self.tools.version, "drbd-utils": self.tools.utils_version}

    # --- configuration

    async def configure(self, mirror: Mirror, text: str) -> bool:
        """Refuses a text that drbdadm cannot read: one bad file would break every handler."""
        path = self._drbd_dir / f"{mirror.drbd_name}.res"
        async with self._config_lock:
            await self._check_replaced(path)
            old = read_or_none(path)
            if old == text:
                return False
            await self._check_draft(mirror, path, text)
            replace_file(kept_path(path), (old or "").encode())
            replace_file(path, text.encode())
            await self._check_replaced(path)
        return True

    async def _check_replaced(self, path: Path) -> None:
        """A file that contradicts another, as with a device number that is used twice, breaks all
        of them. What was there before is kept until that is known: a run may end in between.
        """
        before = kept_path(path)
        old = read_or_none(before)
        if old is None:
            return
        try:
            (await self._adm("sh-nop")).check()
        except PortError:
            put_back(path, old)
            raise
        before.unlink()

    async def _check_draft(self, mirror: Mirror, path: Path, text: str) -> None:
        """It can be read, and defines this mirror's resource for this host."""
        draft = path.with_suffix(".draft")
        draft.write_text(text)
        try:
            command = [self.tools.adm, "-c", str(draft), "sh-minor", mirror.drbd_name]
            (await run(command, timeout_s=COMMAND_TIMEOUT_S)).check()
        finally:
            draft.unlink(missing_ok=True)

    async def adjust(self, mirror: Mirror) -> None:
        """Runs only the option changes out of what ``drbdadm adjust`` would do, and reads back.

        One may depend on another, as protocol and fencing do, in either order. So what was refused
        is tried once more after the rest; what the kernel then still refuses is told.
        """
        if not isinstance(await self.query(mirror), DrbdState):
            return
        refused: list[list[str]] = []
        for words in await self._planned(mirror):
            if words[1] in OPTION_COMMANDS:
                try:
                    await self._setup(*words[1:])
                except CommandFailed:
                    refused.append(words)
        for words in refused:
            await self._setup(*words[1:])
        await self._check_options(mirror)

    async def check_files(self) -> None:
        await self._readable.check()

    async def forbid_two_primaries(self, mirror: Mirror) -> None:
        forbid = ("net-options", "--allow-two-primaries=no", mirror.drbd_name)
        (await self._adm(*forbid)).check()

    async def _check_options(self, mirror: Mirror) -> None:
        """9: nothing but the authority decides who may write (``core.resource_file``)."""
        if self.tools.major == 8:
            return
        shown = (await self._setup("show", "--json", mirror.drbd_name)).stdout
        try:
            found = drbd_text.parse_options(shown, mirror.drbd_name)
        except ValueError as error:
            raise CommandFailed(f"{mirror.drbd_name}: {error}") from error
        if found != drbd_text.Options(quorum="off", auto_promote=False):
            promotes = "yes" if found.auto_promote else "no"
            raise CommandFailed(
                f"{mirror.drbd_name}: DRBD would decide by itself (quorum {found.quorum},"
                f" auto-promote {promotes}), and both must be off. Run:"
                f" drbdadm adjust {mirror.drbd_name}"
            )

    async def _planned(self, mirror: Mirror) -> list[list[str]]:
        """The commands that ``drbdadm adjust`` would run, each with its program."""
        shown = (await self._adm("--dry-run", "adjust", mirror.drbd_name)).check().stdout
        lines = (shlex.split(line) for line in shown.splitlines())
        return [words for words in lines if len(words) > 1]

    # --- metadata

    async def metadata(self, mirror: Mirror) -> Mapping[str, Metadata]:
        minors = self._minors(mirror)
        return {
            name: await self._metadata_of(f"{mirror.drbd_name}/{number}", minors[number])
            for number, name in enumerate(mirror.volume_names)
        }

    async def _metadata_of(self, volume: str, minor: int) -> Metadata:
        """ABSENT only if drbdmeta says so in words: exit codes do not tell it from failures."""
        answer = await self._adm("get-gi", volume, timeout_s=METADATA_TIMEOUT_S)
        if answer.code == 0:
            return Metadata.PRESENT
        answer = await self._adm("dump-md", volume, timeout_s=METADATA_TIMEOUT_S)
        if answer.code == 0 or any(words in answer.stderr for words in METADATA_IN_USE):
            return Metadata.PRESENT
        if NO_METADATA in answer.stderr:
            return await self._of_another_drbd(volume, minor)
        words = answer.words or f"dump-md ended with {answer.code}"
        raise CommandFailed(f"{volume}: metadata not readable: {words}")

    async def _of_another_drbd(self, volume: str, minor: int) -> Metadata:
        """Whether what this host's DRBD takes for no metadata is that of 8.4, or of 9."""
        other = Metadata.V09 if self.tools.major == 8 else Metadata.V08
        device = (await self._adm("sh-ll-dev", volume)).check().stdout.strip()
        command = (self.tools.meta, str(minor), other.value, device, "internal", "dump-md")
        answer = await run(command, timeout_s=METADATA_TIMEOUT_S)
        if answer.code == 0 or any(words in answer.stderr for words in METADATA_IN_USE):
            return other
        if NO_METADATA in answer.stderr:
            return Metadata.ABSENT
        words = answer.words or f"dump-md ended with {answer.code}"
        raise CommandFailed(f"{volume}: metadata not readable: {words}")

    async def generations(self, mirror: Mirror) -> Mapping[str, Generation]:
        found: dict[str, Generation] = {}
        for number, name in enumerate(mirror.volume_names):
            volume = f"{mirror.drbd_name}/{number}"
            answer = await self._adm("get-gi", volume, timeout_s=METADATA_TIMEOUT_S)
            try:
                found[name] = drbd_text.parse_generation(answer.check().stdout)
            except ValueError as error:
                raise CommandFailed(f"get-gi {volume}: {error}") from error
        return found

    async def create_metadata(self, mirror: Mirror, volumes: Collection[str]) -> None:
        """Without a terminal drbdmeta cancels where it would ask; what it knows not, blkid may."""
        if mirror.status.device_numbers is None:
            raise CommandFailed(f"{mirror.drbd_name} has no device numbers yet")
        wanted = mirror.spec.initial_data is InitialData.IDENTICAL
        numbered = [n for n, name in enumerate(mirror.volume_names) if name in volumes]
        names = [f"{mirror.drbd_name}/{number}" for number in numbered]
        for volume in () if wanted else names:
            device = (await self._adm("sh-ll-dev", volume)).check().stdout.strip()
            await refuse_foreign_data(device)
        peers = () if self.tools.major == 8 else ("--max-peers=1",)
        force = ("--force",) if wanted else ()
        for volume in names:
            command = ("create-md", *peers, *force, volume)
            (await self._adm(*command, timeout_s=METADATA_TIMEOUT_S)).check()

    # --- bringing up, connecting

    async def attach(self, mirror: Mirror) -> None:
        """May be repeated: only what is missing is done. Undone again if a volume fails."""
        name = mirror.drbd_name
        if self.tools.major != 8:
            # Peers and paths, which 9 wants before an attach and a connect, but no connect.
            for words in await self._planned(mirror):
                if words[1] != "connect":
                    (await run(words, timeout_s=METADATA_TIMEOUT_S)).check()
            await self._check_options(mirror)
            return
        (await self._adm("new-resource", name)).check()
        (await self._adm("new-minor", name)).check()
        resources = await self.looks.resources()
        devices = resources[name].devices if name in resources else {}
        done: list[int] = []
        for number in range(len(mirror.volume_names)):
            if devices.get(number, {}).get("disk") not in (None, "Diskless"):
                continue
            try:
                volume = f"{name}/{number}"
                (await self._adm("attach", volume, timeout_s=METADATA_TIMEOUT_S)).check()
            except CommandFailed:
                await self._undo("detach", self._minors(mirror, done))
                raise
            done.append(number)

    async def connect(self, mirror: Mirror, *, discard_my_data: bool) -> None:
        """Does nothing if it is connecting already, unless it is to discard this side's data."""
        view = await self.query(mirror)
        connecting = isinstance(view, DrbdState) and view.connection is not Connection.STANDALONE
        if connecting and not discard_my_data:
            return
        discard = ("--discard-my-data",) if discard_my_data else ()
        (await self._adm("connect", *discard, mirror.drbd_name)).check()

    async def disconnect(self, mirror: Mirror) -> None:
        answer = await self._adm("disconnect", mirror.drbd_name)
        if answer.code and ALREADY_DISCONNECTED not in answer.stderr:
            answer.check()

    async def copy_to_peer(self, mirror: Mirror, *, whole: bool) -> None:
        if self.tools.major == 8:
            raise CommandFailed("DRBD 8.4 copies whole disks only when told to; connect it anew")
        name = mirror.drbd_name
        resources = await self.looks.resources()
        peers = resources[name].peer_devices if name in resources else {}
        lacking = {
            number: peer for number, peer in peers.items() if whole or drbd_text.lacks_data(peer)
        }
        if not lacking:
            raise CommandFailed(f"{name}: DRBD knows of nothing that its peer lacks")
        busy = {peer.get("replication", "Off") for peer in lacking.values()} - {"Established"}
        if busy:
            # Told during a verification, 9.2.19 stands still in the exchange of bitmaps.
            raise CommandFailed(f"{name}: not copied to while DRBD is {' and '.join(sorted(busy))}")
        for number, peer in sorted(lacking.items()):
            where = (name, peer["peer-node-id"], str(number))
            tell = [self.tools.setup, "invalidate-remote", *where]
            if not whole:
                answer = await run([*tell, "--reset-bitmap=no"], timeout_s=COMMAND_TIMEOUT_S)
                if OLDER_PROTOCOL not in answer.stderr:
                    answer.check()
                    continue
            (await run(tell, timeout_s=COMMAND_TIMEOUT_S)).check()

    async def skip_first_sync(self, mirror: Mirror, volumes: Collection[str]) -> None:
        numbers = [n for n, name in enumerate(mirror.volume_names) if name in volumes]
        for minor in self._minors(mirror, numbers):
            await self._setup("new-current-uuid", str(minor), "--clear-bitmap")

    # --- roles

    async def promote(self, mirror: Mirror, *, force: bool) -> None:
        """Volume by volume on 8.4; those already Primary are made Secondary if one is refused."""
        option = ("--force",) if force else ()
        done: list[int] = []
        for target in self._role_targets(mirror):
            try:
                await self._setup("primary", target, *option, timeout_s=PROMOTE_TIMEOUT_S)
            except CommandFailed:
                await self._undo("secondary", done)
                raise
            done += [int(target)] if target.isdigit() else []

    async def demote(self, mirror: Mirror) -> None:
        for target in reversed(self._role_targets(mirror)):
            await self._setup("secondary", target)

    async def resume_io(self, mirror: Mirror) -> None:
        for minor in self._minors(mirror):
            await self._setup("resume-io", str(minor))

    # --- helpers

    def _role_targets(self, mirror: Mirror) -> list[str]:
        if self.tools.major == 8:
            return [str(minor) for minor in self._minors(mirror)]
        return [mirror.drbd_name]

    def _minors(self, mirror: Mirror, numbers: Sequence[int] | None = None) -> list[int]:
        """Device numbers of the volumes (all, or these), in order."""
        known = mirror.status.device_numbers
        if known is None:
            raise CommandFailed(f"{mirror.drbd_name} has no device numbers yet")
        minors = [known.minors[name] for name in mirror.volume_names]
        return minors if numbers is None else [minors[number] for number in numbers]

    async def _undo(self, command: str, minors: Sequence[int]) -> None:
        for minor in minors:
            with contextlib.suppress(PortError):
                await self._setup(command, str(minor))

    async def _setup(self, *words: str, timeout_s: float = COMMAND_TIMEOUT_S) -> Finished:
        return (await run([self.tools.setup, *words], timeout_s=timeout_s)).check()

    async def _adm(self, *words: str, timeout_s: float = COMMAND_TIMEOUT_S) -> Finished:
        return await run([self.tools.adm, *words], timeout_s=timeout_s)
