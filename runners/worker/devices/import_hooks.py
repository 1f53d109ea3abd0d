"""What is done to a module of somebody else's as soon as it has been imported, and never if it is not."""

import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

Deed = Callable[[ModuleType], None]


class Afterwards(MetaPathFinder):
    def __init__(self, deeds: dict[str, Deed]) -> None:
        self._deeds = deeds
        self._looking: set[str] = set()

    def install(self) -> None:
        sys.meta_path.insert(0, self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self._deeds or fullname in self._looking:
            return None
        self._looking.add(fullname)  # the search below comes by here again
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._looking.discard(fullname)
        if spec is not None and spec.loader is not None:
            _extend(spec.loader, self._deeds[fullname])
        return spec


def _extend(loader: Loader, deed: Deed) -> None:
    """The loader stays the one that it is: libraries ask theirs for their files and their sources."""
    execute = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        execute(module)
        deed(module)

    loader.exec_module = exec_module
