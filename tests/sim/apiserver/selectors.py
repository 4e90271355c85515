"""Label selectors, as far as they are used: equalities, and labels that are there.

Called by ``handler`` and ``feed``.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any


def selects(selector: str, raw: Mapping[str, Any]) -> bool:
    if not selector:
        return True
    labels = raw["metadata"].get("labels") or {}
    return all(labels.get(name) == value for name, value in _terms(selector))


@lru_cache(maxsize=256)
def _terms(selector: str) -> tuple[tuple[str, str], ...]:
    terms = []
    for term in selector.split(","):
        name, equals, value = term.replace("==", "=").partition("=")
        if not equals or name.endswith("!"):
            raise NotImplementedError(f"a selector with {term}")
        terms.append((name.strip(), value.strip()))
    return tuple(terms)
