"""The FenceAgents port on programs of the fence-agents project, by the protocol that they share.

What they are to do comes on standard input, a line ``name=value`` for each parameter: nothing of it
is to be seen in a list of processes. No shell is between. ``status`` ends with 0 for on and 2 for
off; but agents end with 2 for bad parameters, too, so that off counts only if they say it.

Called by ``assembly``.
"""

import asyncio
import contextlib
import os
import re
import signal
from dataclasses import dataclass
from pathlib import Path

from tandem_api.kinds.host import OWN_PARAMETERS
from tandem_controller.ports import AgentCall, AgentFailed, AgentHung, PowerState

NAME = re.compile(r"fence_[a-z0-9_]{1,58}")
PARAMETER = re.compile(r"[a-z][a-z0-9_-]{0,63}")
SAYS = re.compile(r"^status:\s*(on|off)\s*$", re.IGNORECASE | re.MULTILINE)
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "HOME": "/nonexistent"}
"""Nothing of the controller's own, which has a token there in a pod."""
WORDS = 200
STATES = {(0, "on"): PowerState.ON, (2, "off"): PowerState.OFF}


@dataclass(frozen=True)
class _Ended:
    code: int
    said: str
    words: str


class FenceAgentPrograms:
    """See ports.FenceAgents. ``directory``: where the agents are."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def off(self, call: AgentCall) -> None:
        ended = await self._run("off", call)
        if ended.code != 0:
            raise AgentFailed(f"{call.agent} ended with {ended.code}: {ended.words}")

    async def status(self, call: AgentCall) -> PowerState:
        ended = await self._run("status", call)
        said = {word.lower() for word in SAYS.findall(ended.said)}
        state = STATES.get((ended.code, said.pop())) if len(said) == 1 else None
        if state is None:
            raise AgentFailed(f"{call.agent} ended with {ended.code}: {ended.words}")
        return state

    async def _run(self, action: str, call: AgentCall) -> _Ended:
        if not NAME.fullmatch(call.agent):
            raise AgentFailed(f"{call.agent!r} is no name of a fence agent")
        told = _lines(action, call)
        try:
            process = await asyncio.create_subprocess_exec(
                str(self._directory / call.agent),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=ENVIRONMENT,
                start_new_session=True,
            )
        except OSError as error:
            raise AgentFailed(f"{call.agent} cannot be begun: {error.strerror}") from error
        try:
            async with asyncio.timeout(call.timeout_s):
                out, err = await process.communicate(told)
        except TimeoutError:
            message = f"{call.agent} did not end within {call.timeout_s:g} s"
            raise AgentHung(message) from None
        finally:
            await _end(process)
        assert process.returncode is not None
        said = out.decode(errors="replace")
        return _Ended(process.returncode, said, _words(said, err.decode(errors="replace"), call))


def _lines(action: str, call: AgentCall) -> bytes:
    """Raises: AgentFailed: a parameter would be read as something else."""
    lines = [f"action={action}"]
    for name, value in {**call.parameters, **call.secrets}.items():
        if not PARAMETER.fullmatch(name) or name in OWN_PARAMETERS:
            raise AgentFailed(f"{name!r} is no parameter for a fence agent")
        if any(each in value for each in "\r\n\0"):
            raise AgentFailed(f"{name} is of several lines")
        lines.append(f"{name}={value}")
    return ("\n".join(lines) + "\n").encode()


def _words(out: str, err: str, call: AgentCall) -> str:
    """What it said last, without secrets."""
    lines = [line.strip() for line in (err.strip() or out.strip()).splitlines() if line.strip()]
    text = "; ".join(lines[-3:]) or "it said nothing"
    for secret in sorted(filter(None, call.secrets.values()), key=len, reverse=True):
        text = text.replace(secret, "…")
    return text[:WORDS]


async def _end(process: asyncio.subprocess.Process) -> None:
    """It and all that it has begun; and nothing is left of it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1.0):
            await process.wait()
