from collections.abc import Generator
from pathlib import Path

import pytest

from tests.deploy.fake_gateway import FakeGateway, run_fake_gateway

PREDICTOR = """\
class Predictor:
    def predict(self, text: str) -> str:
        return text
"""


@pytest.fixture
def gateway() -> Generator[FakeGateway]:
    with run_fake_gateway() as gateway:
        yield gateway


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a model that can be pushed."""
    path = tmp_path / "My Model"  # the folder's own name is not the model's
    path.mkdir()
    (path / "cog.yaml").write_text("predict: predict.py:Predictor\n")
    (path / "predict.py").write_text(PREDICTOR)
    return path
