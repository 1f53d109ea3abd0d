"""The script that a worker process starts as: it loads the worker under a private name, then does what it is asked.

A predictor's folder comes first on `sys.path`, and none of our modules is importable by a name it might use itself.
"""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Final

HERE: Final = Path(__file__).resolve().parent
PRIVATE: Final = "_samovar_worker"
SDK: Final = "cog"


def main() -> None:
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != HERE]
    _package(PRIVATE, HERE)
    _lend_sdk()
    importlib.import_module(f"{PRIVATE}.command").main(sys.argv[1:])


def _lend_sdk() -> None:
    """Put our `cog` where predictors import it, also if another is installed, and let the worker share its modules."""
    for name in [name for name in sys.modules if name.split(".")[0] == SDK]:
        del sys.modules[name]
    _package(SDK, HERE / "cog")
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] == SDK:
            sys.modules[f"{PRIVATE}.{name}"] = module


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
    _lend_sdk()
