"""Bundled models in workers of their own."""

import importlib.util
import sys
from collections.abc import Generator
from pathlib import Path
from types import ModuleType

from tests.runners.worker.driver import Worker

MODELS = Path(__file__).parents[3] / "runners" / "models"
LOADING = 300.0  # seconds; the weights may have to be converted first


def load_worker(name: str) -> Generator[Worker]:
    worker = Worker(MODELS / name)
    worker.socket.settimeout(LOADING)
    try:
        worker.ready()
        yield worker
    finally:
        worker.close()


def module(model: str, name: str) -> ModuleType:
    """Import a file of a model's folder into this process."""
    own = f"{model}_{name}"
    spec = importlib.util.spec_from_file_location(own, MODELS / model / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    result = importlib.util.module_from_spec(spec)
    sys.modules[own] = result  # where dataclasses look for it
    spec.loader.exec_module(result)
    return result
