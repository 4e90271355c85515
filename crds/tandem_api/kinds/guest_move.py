"""GuestMove: one move of one guest, ordered by a person. Once it has ended, it is history."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from tandem_api.meta import (
    Condition,
    InvalidFields,
    Model,
    Name,
    Problem,
    Resource,
    is_true,
)
from tandem_api.vocabulary import MovePhase

ONE_OF_THEM = "names one of both: a site, or a host"
ONCE = "cannot be edited; delete this GuestMove, and create another"
HISTORY = 10
"""So many that have ended are kept for each guest."""


class Destination(Model):
    """Where to. One of both."""

    site: Annotated[Name | None, Field(description="The guest's host at this Site.")] = None
    host: Annotated[Name | None, Field(description="This Host.")] = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.site is None) == (self.host is None):
            raise InvalidFields((Problem("", ONE_OF_THEM),))
        return self

    def __str__(self) -> str:
        return f"site {self.site}" if self.site is not None else f"host {self.host}"


class How(StrEnum):
    """How the guest gets there.

    LIVE_IF_POSSIBLE  as it runs, if both hosts can; else as with COLD.
    LIVE              as it runs, or not at all.
    COLD              stopped, and started there.
    """

    LIVE_IF_POSSIBLE = "LiveIfPossible"
    LIVE = "Live"
    COLD = "Cold"


class GuestMoveSpec(Model):
    """What a person orders."""

    guest: Annotated[Name, Field(description="A Guest in the same namespace.")]
    to: Destination
    how: Annotated[
        How,
        Field(
            description="LiveIfPossible: as it runs if both hosts can, else stopped and started"
            " there. Live: as it runs, or not at all. Cold: stopped and started there."
        ),
    ] = How.LIVE_IF_POSSIBLE
    timeout_seconds: Annotated[
        int,
        Field(
            ge=10,
            le=86400,
            description="What has not begun within this time has failed. Once it has begun, the"
            " guest may take so long to stop or to be sent, or its own time for that if it is"
            " longer; then the move is taken back.",
        ),
    ] = 600


class GuestMoveStatus(Model):
    """What became of it.

    ``steps``: what happened when, RFC 3339, by the controller's clock but for ``promoted`` and
    ``domainStarted``, which are by the target's. ``away_seconds``: from ``stopped`` to ``running``,
    both as the controller saw it; absent if it did not see the first.
    """

    phase: str = ""
    source: str = ""
    target: str = ""
    reason: str = ""
    message: str = ""
    steps: dict[str, str] = {}
    away_seconds: float | None = None
    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()


class GuestMove(Resource):
    """One move of one guest."""

    spec: GuestMoveSpec
    status: GuestMoveStatus = GuestMoveStatus()

    @property
    def ended(self) -> bool:
        """Also by a phase that only a newer version knows: an end is never taken back."""
        phase = self.status.phase
        if phase in tuple(MovePhase):
            return MovePhase(phase).ended
        return is_true(self.status.conditions, "Ended")
