"""When Python's collector looks at everything: right after a heartbeat, while nobody waits.

With hundreds of guests that takes a fifth of a second, for which nothing of the program runs, the
guard neither. So it is done seldom, while the lease is fresh, and what is left then is set aside:
what the collector does by itself in between has little to look at. Called by ``__main__``.
"""

import gc

from tandem_actuator.ports import Clock

FIRST_S = 20.0
"""By then everything was told."""
EVERY_S = 600.0


class Collecting:
    """Of this process. It decides nothing but the moment."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._next_s = clock.boottime_s() + FIRST_S

    def heartbeat(self, confirmed: bool) -> None:
        """One was sent. While none is confirmed nothing is done: a guest may live on its link."""
        now_s = self._clock.boottime_s()
        if confirmed and now_s >= self._next_s:
            self._next_s = now_s + EVERY_S
            gc.unfreeze()
            gc.collect()
            gc.freeze()
