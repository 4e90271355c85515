"""Objects that count how often they were changed: who asks the same again can see that it is.

An attribute that is set to the very value that it has is no change. What is changed in place is not
seen: what a unit and the node hold, but for the steps of a start, is replaced and never changed in
place. Called by ``workload``, ``node`` and ``transit``.
"""

from typing import Any


class Counted:
    """``changes``: how often an attribute became another."""

    changes = 0

    def __setattr__(self, name: str, value: Any) -> None:
        if self.__dict__.get(name, self) is value:
            return
        super().__setattr__(name, value)
        super().__setattr__("changes", self.changes + 1)
