"""A pod's own account: its token, which is replaced in its file while the program runs.

``kubernetes.aio`` reads the file again once a minute has passed by the wall clock. After that was
set back by a day it would go on for a day with the token that it has, and the server refuses that
as soon as it has expired. So the minute is counted on the monotonic clock here. Called by
``transport``.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path

from kubernetes.aio.client import Configuration

log = logging.getLogger(__name__)

READ_AGAIN_S = 60.0
"""The kubelet replaces a token when a fifth of its time is left, which is ten minutes or more."""


class AccountToken:
    """Keeps a configuration's token that of the file; ``refresh`` is asked before each request."""

    def __init__(self, path: Path, now_s: Callable[[], float] = time.monotonic) -> None:
        self._path, self._now_s = path, now_s
        self._read_s = float("-inf")

    def refresh(self, configuration: Configuration) -> None:
        """What cannot be read changes nothing: the token that there is may still be good."""
        if self._now_s() - self._read_s < READ_AGAIN_S:
            return
        self._read_s = self._now_s()
        try:
            token = self._path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            log.warning("the account's token was not read again: %s", error)
            return
        if token:
            configuration.api_key["BearerToken"] = f"bearer {token}"
