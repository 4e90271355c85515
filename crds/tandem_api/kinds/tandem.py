"""Tandem: what holds for everything. There is one, named ``default``; without it defaults hold."""

from typing import Annotated

from pydantic import Field

from tandem_api.meta import Condition, Model, Resource

NAME = "default"
ONLY_ONE = "there is one Tandem, named default; use that name"


class TandemSpec(Model):
    """What a person decides for everything."""

    paused: Annotated[
        bool,
        Field(
            description="Neither start, stop, move nor take over any guest; say what would be done."
        ),
    ] = False


class TandemStatus(Model):
    """What the controller says. ``guests_paused``: how many are, by whatever object."""

    guests_paused: int = 0
    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()


class Tandem(Resource):
    """What holds for everything."""

    spec: TandemSpec = TandemSpec()
    status: TandemStatus = TandemStatus()
