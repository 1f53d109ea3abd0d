"""Hooks that change a foreign module right after it is imported, and never cause its import."""

import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

Hook = Callable[[ModuleType], None]


class PostImportHooks(MetaPathFinder):
    """A finder that calls a hook with each module named in `hooks`, once the module has been executed."""

    def __init__(self, hooks: dict[str, Hook]) -> None:
        self._hooks = hooks
        self._searching: set[str] = set()

    def install(self) -> None:
        """Put this finder first on `sys.meta_path`."""
        sys.meta_path.insert(0, self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a module with a hook, or None for any other."""
        if fullname not in self._hooks or fullname in self._searching:
            return None
        self._searching.add(fullname)  # the search below comes by here again
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._searching.discard(fullname)
        if spec is not None and spec.loader is not None:
            _call_after_execution(spec.loader, self._hooks[fullname])
        return spec


def _call_after_execution(loader: Loader, hook: Hook) -> None:
    """Patch the loader itself: libraries ask theirs for their files and their sources, so it must stay the same."""
    execute = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        execute(module)
        hook(module)

    loader.exec_module = exec_module
