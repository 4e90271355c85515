"""A program of a newer version beside older ones: it writes reasons that they do not know.

The program itself is the one that there is; what it writes passes through here on its way to the
server. Three kinds of reasons stay, since others go by them: ``NotInitialised`` belongs to the
protocol (no data yet), so does ``SplitBrain`` (a person must choose), and ``Hold…`` is how a
scenario tells that a mirror is left alone. A field that the older version does not know never
reaches it: the server prunes it, and the types ignore it. Called by ``world``.
"""

from collections.abc import Mapping
from typing import Any

from sim.apiserver.transport import SimTransport
from tandem_api.reasons import Reason

UNHEARD_OF = "OnlyANewerVersionSaysSo"
STAY = (Reason.NOT_INITIALISED, Reason.SPLIT_BRAIN)


class NewerTransport(SimTransport):
    """The way of a newer program."""

    def reworded(self, path: str, body: Any) -> Any:
        return _reworded(body) if path.endswith("/status") else body


def _reworded(value: Any) -> Any:
    """Every reason in it is another; what stands in a list stays."""
    if isinstance(value, Mapping):
        return {
            name: _another(inner) if name == "reason" and inner else _reworded(inner)
            for name, inner in value.items()
        }
    if isinstance(value, list) and all(
        isinstance(each, Mapping) and "op" in each for each in value
    ):
        return [_reworded(each) for each in value]
    return value


def _another(reason: Any) -> str:
    stays = str(reason) in STAY or str(reason).startswith("Hold")
    return str(reason) if stays else UNHEARD_OF
