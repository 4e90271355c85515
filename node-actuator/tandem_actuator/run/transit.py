"""A guest that is sent away as it runs, or comes: what this run of the actuator does about it.

Nothing in here is needed after a restart: who was restarted gives the migration up, or goes by what
the authority says.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from tandem_actuator.core.model import Job, JobState, Receiving, Record
from tandem_actuator.core.session import Session
from tandem_actuator.ports import CommandFailed
from tandem_actuator.ports.drbd import DrbdEvent
from tandem_actuator.run.counted import Counted
from tandem_api.vocabulary import DomainState


@dataclass
class Transit(Counted):
    """Of one guest. ``refused``: by which order it could not be sent, and why."""

    job: Job | None = None
    receiving: Receiving | None = None
    refused: tuple[int, str] | None = None
    session: Session = field(default_factory=Session)

    def told(self, event: DrbdEvent) -> None:
        """Events, each in its turn. One without a name: some were missed."""
        known = self.session
        told = known.heard(event.role, event.peer_role, lost=event.lost)
        self.session = told if event.name else known.began_anew()

    @contextmanager
    def promotion(self) -> Iterator[None]:
        """Around one, of which DRBD will tell. One that is not answered may yet take effect."""
        self.session = self.session.promoting()
        try:
            yield
        except CommandFailed:
            self.session = self.session.refused()
            raise

    def begun(self, migration: str, now_s: float) -> None:
        self.job = Job(migration, now_s)

    def given_up(self, why: str) -> None:
        """It may yet come to an end that is good."""
        if self.job is not None:
            self.job = replace(self.job, given_up=self.job.given_up or why)

    def ended(self, migration: str, now_s: float, why: str = "") -> None:
        """``why`` not, if it was not sent."""
        if self.job is not None and self.job.migration == migration:
            state = JobState.FAILED if why else JobState.SUCCEEDED
            why = (self.job.given_up or why) if why else ""
            self.job = replace(self.job, state=state, ended_s=now_s, why=why)

    def saw(self, domain: DomainState) -> None:
        """Something of the guest is here."""
        if self.receiving is not None and domain is DomainState.PAUSED:
            self.receiving = replace(self.receiving, seen=True)

    def noted(self, record: Record) -> None:
        """What is noted as over is forgotten."""
        if record.outgoing is None:
            self.job = None
        if record.incoming is None or record.incoming.over:
            self.receiving = None

    def why_refused(self, serial: int) -> str:
        """Why it could not be sent by this order; empty if nothing speaks against it."""
        return self.refused[1] if self.refused is not None and self.refused[0] == serial else ""
