"""What a procedure has come to, where a later decision needs to know."""

from dataclasses import replace

from tandem_actuator.core.decision import Task
from tandem_actuator.core.effects import Finished
from tandem_actuator.core.model import Refusals, serial_of
from tandem_actuator.run.workload import Unit
from tandem_api.reasons import Reason


def learn(unit: Unit, task: Task, finished: Finished, now_s: float) -> None:
    """Called once it has ended."""
    if task is Task.RESYNC_AGAIN and finished.reason is Reason.CONNECTING:
        _connected_anew(unit)
    elif task is Task.START and finished.reason is Reason.START_REFUSED:
        start_refused(unit, finished.message, now_s)
    elif task is Task.PART and finished.reason is Reason.LINK_UNUSABLE and finished.failed:
        link = replace(unit.standstill.link, kept=finished.message)
        unit.standstill = replace(unit.standstill, link=link)
    elif task is Task.GIVE_UP and finished.reason is Reason.MIGRATION_FAILED:
        unit.transit.refused = (serial_of(unit.guest), finished.message)


def _connected_anew(unit: Unit) -> None:
    """Since the resync stood still."""
    if unit.resync is not None:
        unit.resync = replace(unit.resync, renewals=unit.resync.renewals + 1)


def start_refused(unit: Unit, why: str, now_s: float) -> None:
    """A round of tries to start the guest here has failed."""
    serial, known = serial_of(unit.guest), unit.refusals
    rounds = known.rounds if known and known.serial == serial else 0
    unit.refusals = Refusals(rounds + 1, serial, now_s, why)
