"""What the status of Tandem says. Called by ``others``."""

from tandem_api.kinds.tandem import Tandem, TandemStatus
from tandem_api.meta import Condition
from tandem_api.reasons import Reason
from tandem_controller.decide.conditions import bad, good, spec_valid, stamped
from tandem_controller.decide.world.model import Refusal, World


def tandem_status(tandem: Tandem, world: World) -> TandemStatus:
    """Its whole status. A guest counts once its own status says that it is paused."""
    old, generation = tandem.status, tandem.metadata.generation
    paused = good("Paused", Reason.PAUSED) if tandem.spec.paused else _not_paused()
    conditions = (paused, spec_valid(world, tandem))
    return old.model_copy(
        update={
            "guests_paused": sum(bool(guest.status.paused_by) for guest in world.snapshot.guests),
            "observed_generation": generation,
            "conditions": stamped(old.conditions, conditions, generation, world),
        }
    )


def _not_paused() -> Condition:
    return bad("Paused", Refusal(Reason.NOT_PAUSED, ""))
