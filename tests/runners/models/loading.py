"""Bundled models in workers of their own."""

from collections.abc import Generator
from pathlib import Path

from tests.runners.worker.driver import Worker

MODELS = Path(__file__).parents[3] / "runners" / "models"
LOADING = 300.0  # seconds; the weights may have to be converted first


def loaded(name: str) -> Generator[Worker]:
    worker = Worker(MODELS / name)
    worker.socket.settimeout(LOADING)
    try:
        worker.ready()
        yield worker
    finally:
        worker.close()
