"""The script that a worker process starts as: it loads the worker under a private name, then does what it is asked.

A predictor's folder comes first on `sys.path`, and none of our modules is importable by a name it might use itself.
"""

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Final

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parents[1]
OURS: Final = frozenset({"gateway", "runners", "schemas", "deploy"})
PRIVATE: Final = "_samovar_worker"
SDK: Final = "cog"


def main() -> None:
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != HERE]
    sys.meta_path.insert(0, Elsewhere())
    _package(PRIVATE, HERE)
    _lend_sdk()
    importlib.import_module(f"{PRIVATE}.command").main(sys.argv[1:])


class Elsewhere(MetaPathFinder):
    """Finds modules that are named like ours anywhere but where ours are.

    To come first on `sys.path` is not enough: a folder without `__init__.py` loses to any package further on.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if path is not None or fullname not in OURS:
            return None
        found = PathFinder.find_spec(fullname, [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT])
        if found is None:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return found


def _lend_sdk() -> None:
    """Put our `cog` where predictors import it, also if another is installed, and let the worker share its modules."""
    for name in [name for name in sys.modules if name.split(".")[0] == SDK]:
        del sys.modules[name]
    _package(SDK, HERE / "cog")
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] == SDK:
            sys.modules[f"{PRIVATE}.{name}"] = module
    importlib.import_module(f"{SDK}.gone").explain()


def _package(name: str, folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
elif __name__ == "__mp_main__":
    # A child that a predictor spawned by `multiprocessing` imports this script, then the predictor's module.
    sys.meta_path.insert(0, Elsewhere())
    _lend_sdk()
