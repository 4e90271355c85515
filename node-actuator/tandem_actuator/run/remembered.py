"""A value that is made of others, and not made again while these are the very same.

Of hundreds of mirrors nearly all are as they were at the last look. Nothing has to be told when
something changes: whoever asks gives all that the value is made of, each time. What is compared is
identity, which takes no longer for a large object than for a small one, and never takes another for
the same. Called by ``workload``.
"""

from collections.abc import Callable
from operator import is_
from typing import Generic, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Remembered(Generic[P, T]):
    """The last value of a pure function. Its arguments are immutable, and given by name.

    ``made``: the value. ``stamp``: of its holder, when it was made sure of.
    """

    def __init__(self, make: Callable[P, T]) -> None:
        self._make = make
        self._of: tuple[object, ...] | None = None
        self.made: T
        self.stamp: object = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        of = (*args, *kwargs.values())
        if self._of is None or len(of) != len(self._of) or not all(map(is_, of, self._of)):
            self._of, self.made = of, self._make(*args, **kwargs)
        return self.made
