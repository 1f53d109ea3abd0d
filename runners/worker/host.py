"""The script that a worker process starts as: it loads the worker under a private name, then runs its command.

A predictor's folder comes first on `sys.path`, and none of our packages is importable by a name it might use itself.
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

WORKER_FOLDER: Final = Path(__file__).resolve().parent
ROOT: Final = WORKER_FOLDER.parents[1]
OUR_PACKAGES: Final = frozenset({"gateway", "runners", "schemas", "bus", "deploy", "benchmarks"})
"""All packages that the distribution ships. A test compares them with pyproject.toml."""
PRIVATE_NAME: Final = "_samovar_worker"
SDK_NAME: Final = "cog"


def main() -> None:
    """Set up imports as a predictor needs them, and run the worker."""
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != WORKER_FOLDER]
    sys.meta_path.insert(0, OurPackagesHider())
    _load_package(PRIVATE_NAME, WORKER_FOLDER)
    _install_sdk()
    importlib.import_module(f"{PRIVATE_NAME}.command").main(sys.argv[1:])


class OurPackagesHider(MetaPathFinder):
    """A finder that looks for modules named like our packages everywhere but where ours are.

    To come first on `sys.path` is not enough: a folder without `__init__.py` loses to any package further on.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a foreign module named like ours. Raises `ModuleNotFoundError` if there is none."""
        if path is not None or fullname not in OUR_PACKAGES:
            return None
        spec = PathFinder.find_spec(fullname, [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT])
        if spec is None:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return spec


def _install_sdk() -> None:
    """Put our `cog` where predictors import it, also if another is installed, and let the worker share its modules."""
    for name in [name for name in sys.modules if name.split(".")[0] == SDK_NAME]:
        del sys.modules[name]
    _load_package(SDK_NAME, WORKER_FOLDER / "cog")
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] == SDK_NAME:
            sys.modules[f"{PRIVATE_NAME}.{name}"] = module
    importlib.import_module(f"{SDK_NAME}.removed_modules").install()


def _load_package(name: str, folder: Path) -> ModuleType:
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
    sys.meta_path.insert(0, OurPackagesHider())
    _install_sdk()
