"""Puts a mutant's text in the place of modules before they are imported, in this process only.

No file is changed. Called by ``trial``, first of all.
"""

import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType

from tandem_mutants.catalogue import BadMutant, Mutant, mutated_sources


class _Loader(SourceFileLoader):
    """Loads other text than the file's. Compiled code on disk is neither read nor written."""

    def __init__(self, name: str, path: str, text: str) -> None:
        super().__init__(name, path)
        self.text = text

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.text, self.path, "exec", dont_inherit=True)


class _Finder(MetaPathFinder):
    """Finds the mutated modules before anybody else does."""

    def __init__(self, sources: Mapping[str, tuple[Path, str]]) -> None:
        self.sources = sources

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        if fullname not in self.sources:
            return None
        file, text = self.sources[fullname]
        loader = _Loader(fullname, str(file), text)
        return spec_from_file_location(fullname, file, loader=loader)


def install(mutant: Mutant) -> None:
    """From now on this process imports the mutant. Raises: BadMutant."""
    sources = mutated_sources(mutant)
    late = sorted(name for name in sources if name in sys.modules)
    if late:
        raise BadMutant(f"mutant {mutant.name}: imported already: {', '.join(late)}")
    sys.meta_path.insert(0, _Finder(sources))
