"""Tandem: what holds for everything. There is one, named ``default``; without it defaults hold."""

from typing import Annotated

from pydantic import Field

from tandem_api.meta import Condition, Model, Resource

NAME = "default"
ONLY_ONE = "there is one Tandem, named default; use that name"


class Moves(Model):
    """How planned moves go about."""

    max_concurrent: Annotated[
        int,
        Field(
            ge=1,
            le=1000,
            description="So many guests are moved at a time: for maintenance, failback, and by"
            " GuestMoves.",
        ),
    ] = 2


class TandemSpec(Model):
    """What a person decides for everything."""

    paused: Annotated[
        bool,
        Field(
            description="Neither start, stop, move nor take over any guest; say what would be done."
        ),
    ] = False
    moves: Moves = Moves()


class TandemStatus(Model):
    """What the controller says. ``guests_paused``: how many are, by whatever object."""

    guests_paused: int = 0
    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()


class Tandem(Resource):
    """What holds for everything."""

    spec: TandemSpec = TandemSpec()
    status: TandemStatus = TandemStatus()
