"""A program of a newer version beside older ones: it writes reasons that they do not know.

The program itself is the one that there is; what it writes passes through here on its way to the
server. Three kinds of reasons stay, since others go by them: ``NotInitialised`` belongs to the
protocol (no data yet), so does ``SplitBrain`` (a person must choose), and ``Hold…`` is how a
scenario tells that a mirror is left alone. A field that the older version does not know never
reaches it: the server prunes it, and the types ignore it. Called by ``world``.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from sim.api import Api, Server
from tandem_api.authority import Authority
from tandem_api.meta import Model, ObjectKey, Resource
from tandem_api.mirror import Mirror
from tandem_api.reasons import Reason

R = TypeVar("R", bound=Resource)
UNHEARD_OF = "OnlyANewerVersionSaysSo"
STAY = (Reason.NOT_INITIALISED, Reason.SPLIT_BRAIN)


class NewerServer(Server):
    """The same server, as a newer program writes to it: everything it holds is shared."""

    def __init__(self, server: Server) -> None:
        self.__dict__ = server.__dict__

    def swap_authority(
        self, key: ObjectKey, uid: str, expected_epoch: int | None, authority: Authority
    ) -> Mirror:
        why = Reason(_reworded(authority.reason))
        eligible = {
            host: entry.model_copy(update={"reason": Reason(_reworded(entry.reason))})
            for host, entry in authority.eligible.items()
        }
        worded = authority.model_copy(update={"reason": why, "eligible": eligible})
        return super().swap_authority(key, uid, expected_epoch, worded)

    def patch_status(
        self,
        kind: type[R],
        key: ObjectKey,
        patch: Mapping[str, Any],
        version: str | None = None,
        uid: str | None = None,
    ) -> R:
        return super().patch_status(kind, key, _all_reworded(patch), version, uid)

    def report(self, kind: type[R], key: ObjectKey, field: str, host: str, report: Model) -> None:
        reason = Reason(_reworded(str(getattr(report, "reason", ""))))
        worded = report.model_copy(update={"reason": reason})
        super().report(kind, key, field, host, worded)


def _reworded(reason: str) -> str:
    stays = reason in STAY or reason.startswith("Hold")
    return str(reason) if stays else UNHEARD_OF


def _all_reworded(patch: Mapping[str, Any]) -> dict[str, Any]:
    """Every reason in it is another, also that of an assignment."""
    new = dict(patch)
    for name, value in patch.items():
        if name == "reason" and value is not None:
            new[name] = _reworded(str(value))
        elif isinstance(value, Mapping):
            new[name] = _all_reworded(value)
    return new


class NewerApi(Api):
    """The same API, but for the server that a newer program finds there."""

    def __init__(self, api: Api) -> None:
        self.__dict__ = api.__dict__

    @property
    def server(self) -> Server:  # type: ignore[override]
        return NewerServer(self.__dict__["server"])
