"""Builds a file or folder once, and again when its recipe changes.

A product is built beside its place and moved there when complete, then stamped with a hash of
its inputs. An interrupted build therefore leaves no stamp and is simply done again.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

Build = Callable[[Path], None]


def digest(inputs: Iterable[str | Path]) -> str:
    """A hash of texts and of files' (or folders') contents."""
    total = hashlib.sha256()
    for item in inputs:
        if isinstance(item, str):
            total.update(item.encode() + b"\0")
            continue
        for path in sorted(item.rglob("*")) if item.is_dir() else [item]:
            if path.is_file():
                total.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()[:16]


def is_current(product: Path, stamp: str) -> bool:
    """True if `product` is there and was built from the inputs with that digest."""
    stamp_file = _stamp_file(product)
    return product.exists() and stamp_file.exists() and stamp_file.read_text() == stamp


def ensure(product: Path, stamp: str, build: Build) -> bool:
    """Have `build` make `product` (it gets a path to write to) unless it is current.

    Returns True if it had to be built.
    """
    if is_current(product, stamp):
        return False
    product.parent.mkdir(parents=True, exist_ok=True)
    part = product.with_name(product.name + ".part")
    remove(part)
    build(part)
    _stamp_file(product).unlink(missing_ok=True)
    remove(product)
    part.rename(product)
    mark(product, stamp)
    return True


def mark(product: Path, stamp: str) -> None:
    """Say that `product`, made in its place, is complete."""
    _stamp_file(product).write_text(stamp)


def remove(path: Path) -> None:
    """Remove a file or folder, if there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _stamp_file(product: Path) -> Path:
    return product.with_name(product.name + ".stamp")
