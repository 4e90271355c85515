"""Site: one data centre, with its hosts and its failure-detector timing."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from tandem_api.meta import Condition, InvalidFields, Model, Problem, Resource
from tandem_api.timing import PROFILES, Profile, Timing


class SiteSpec(Model):
    """What a person decides about a site."""

    profile: Annotated[
        Profile,
        Field(description="Failure-detector timing: Default, Fast, or Custom with `heartbeat`."),
    ] = Profile.DEFAULT
    heartbeat: Annotated[
        Timing | None, Field(description="The numbers of profile Custom; refused otherwise.")
    ] = None
    maintenance: Annotated[
        bool, Field(description="Move every guest to the other site and place none here.")
    ] = False
    paused: Annotated[bool, Field(description="As if every host of it were paused.")] = False
    priority: Annotated[
        int, Field(description="Preferred for guests without a preferred site: higher first.")
    ] = 0

    @model_validator(mode="after")
    def _heartbeat_goes_with_custom(self) -> Self:
        if (self.profile is Profile.CUSTOM) != (self.heartbeat is not None):
            raise InvalidFields([Problem("heartbeat", self._heartbeat_fix())])
        return self

    def _heartbeat_fix(self) -> str:
        if self.heartbeat is None:
            return "is missing, and profile is Custom; add it, or set profile to Default or Fast"
        return f"has no effect with profile {self.profile}; set profile: Custom, or remove it"

    @property
    def timing(self) -> Timing:
        """The numbers in force."""
        return self.heartbeat or PROFILES[self.profile]


class SiteStatus(Model):
    """What the controller says about a site."""

    phase: str = ""
    lease: str = ""
    lease_since: str | None = None
    hosts: str = ""
    guests: int = 0
    if_peer_fails: str = ""
    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()


class Site(Resource):
    """A data centre."""

    spec: SiteSpec = SiteSpec()
    status: SiteStatus = SiteStatus()
