"""The bundled model that can be trained, taught by the command line and by the official client, then run."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx
import pytest
from replicate.client import Client

from benchmarks.stack import Stack
from tests.contract.conftest import open_client
from tests.push import push_successfully, run_samovar
from tests.runners.models.test_classify_text import NEW, csv_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

BASE = "samovar/classify-text"
HELLO = Path(__file__).parents[2] / "runners" / "models" / "hello-world"
"""The model that becomes the destination: any model of the caller will do."""


@pytest.fixture
async def client(stack: Stack) -> AsyncGenerator[Client]:
    async with open_client(stack.url, stack.token) as client:
        yield client


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    file = tmp_path / "examples.csv"
    file.write_text(csv_of())
    return file


def labels(client: Client, model: str) -> list[str]:
    results: list[Any] = [client.run(model, input={"text": text}) for text in NEW]
    return [scores[0]["label"] for scores in results]


def test_it_is_taught_by_the_command_line(stack: Stack, client: Client, examples: Path) -> None:
    push_successfully(stack, HELLO, "tester/topics")
    result = run_samovar(stack, "train", BASE, "--destination", "tester/topics", "-i", f"examples=@{examples}")
    assert result.status == 0, result.err
    assert "21 examples of 3 labels: cooking, money, sport" in result.err
    assert "epoch 200/200: loss 0.0" in result.err
    assert result.model.startswith("tester/topics:")
    assert labels(client, "tester/topics") == list(NEW.values())
    latest = client.models.get("tester/topics").latest_version
    assert latest is not None
    assert latest.id == result.version
    assert "epoch 200/200" in run_samovar(stack, "models", "logs", f"tester/topics:{result.version}").out
    listed = run_samovar(stack, "trainings", "list").out.splitlines()
    assert any(f"\t{BASE}\ttester/topics\tsucceeded\t" in line for line in listed)


def test_it_is_taught_by_the_official_client(stack: Stack, client: Client, examples: Path) -> None:
    push_successfully(stack, HELLO, "tester/subjects")
    version = client.models.get(BASE).latest_version
    assert version is not None
    with examples.open("rb") as file:
        training = client.trainings.create(
            version=f"{BASE}:{version.id}",
            destination="tester/subjects",
            input={"examples": client.files.create(file).urls["get"], "epochs": 50},
        )
    while training.status not in {"succeeded", "failed", "canceled"}:
        training.reload()
    assert training.status == "succeeded", (training.error, training.logs)
    assert training.output is not None
    assert training.destination == "tester/subjects"
    assert httpx.get(training.output["weights"]).content
    assert labels(client, training.output["version"]) == list(NEW.values())
    assert client.trainings.get(training.id).status == "succeeded"
    assert training.id in [each.id for each in client.trainings.list()]
    untaught = client.predictions.create(version=version.id, input={"text": "x"})
    untaught.wait()
    assert "learned no labels yet" in (untaught.error or "")
