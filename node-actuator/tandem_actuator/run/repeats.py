"""What would be said of a mirror again and again: said once, when it changes, and now and then.

A guest that a frozen device holds is killed again every few seconds, for days if need be, and fails
in the same words. Held by ``workload``, asked by ``driver``.
"""

AGAIN_AFTER_S = 600.0


class Repeats:
    """By subject, what was said last and when."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[str, float]] = {}

    def is_news(self, subject: str, words: str, now_s: float) -> bool:
        """Whether it is to be said now; then it counts as said."""
        before, at_s = self._said.get(subject, ("", now_s))
        if before == words and now_s - at_s < AGAIN_AFTER_S:
            return False
        self._said[subject] = words, now_s
        return True
