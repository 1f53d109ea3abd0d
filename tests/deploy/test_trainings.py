"""`samovar train` and `samovar trainings`, as a user types them, against a fake gateway."""

import os
import signal
import subprocess
from collections.abc import Generator
from typing import Any

import pytest
from msgspec import json

from benchmarks.stack import SAMOVAR
from tests.deploy.command_line import environment, samovar
from tests.deploy.fake_gateway import FakeGateway, run_fake_gateway

pytestmark = pytest.mark.slow


VERSION = "e" * 64
DOCUMENT = {
    "components": {
        "schemas": {
            "Input": {"type": "object", "properties": {"text": {"type": "string"}}},
            "TrainingInput": {
                "type": "object",
                "properties": {
                    "examples": {"type": "string", "format": "uri"},
                    "epochs": {"type": "integer"},
                },
            },
        }
    }
}


class Trainer:
    """The answers of a gateway about the model `me/pupil` and its one training."""

    def __init__(self, gateway: FakeGateway) -> None:
        self.gateway = gateway
        self.bodies: list[dict[str, Any]] = []
        self.error: str | None = None
        self._others = gateway.answer
        gateway.answer = self.answer  # type: ignore[method-assign]

    def answer(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
        gateway = self.gateway
        match [method, *path.strip("/").split("/")]:
            case ["GET", "v1", "models", "me", "pupil"]:
                return 200, {"latest_version": {"id": VERSION, "openapi_schema": DOCUMENT}}
            case ["POST", "v1", "models", "me", "pupil", "versions", version, "trainings"] if version == VERSION:
                self.bodies.append(json.decode(body))
                return 201, self.training("starting")
            case ["GET", "v1", "trainings"]:
                return 200, {"results": [self.training("failed")], "next": None}
            case ["GET", "v1", "trainings", _]:
                return 200, self.training("failed" if self.error else "succeeded")
            case ["POST", "v1", "trainings", _, "cancel"]:
                gateway.canceled.set()
                return 200, self.training("canceled")
            case _:
                return self._others(method, path, body, headers)

    def training(self, status: str) -> dict[str, Any]:
        output = {"version": f"me/tuned:{'f' * 64}", "weights": "https://x/y"} if status == "succeeded" else None
        return {
            "id": "t1",
            "model": "me/pupil",
            "destination": "me/tuned",
            "status": status,
            "created_at": "2026-11-25T12:00:00Z",
            "error": self.error,
            "output": output,
            "urls": {"stream": f"{self.gateway.url}/v1/streams/t"},
        }


@pytest.fixture
def gateway() -> Generator[FakeGateway]:
    with run_fake_gateway() as gateway:
        gateway.log = "loss 0.5\n"
        yield gateway


@pytest.fixture
def trainer(gateway: FakeGateway) -> Trainer:
    return Trainer(gateway)


def test_a_training_prints_its_log_and_the_new_version(gateway: FakeGateway, trainer: Trainer, tmp_path: Any):
    file = tmp_path / "examples.csv"
    file.write_text("text,label\n")
    result = samovar(
        gateway, "train", "me/pupil", "--destination", "me/tuned", "-i", f"examples=@{file}", "-i", "epochs=3"
    )
    assert (result.returncode, result.stdout) == (0, f"me/tuned:{'f' * 64}\n"), result.stderr
    assert "loss 0.5\n" in result.stderr
    assert "run it: samovar run me/tuned\n" in result.stderr
    [body] = trainer.bodies
    assert body["destination"] == "me/tuned"
    assert body["input"]["epochs"] == 3
    assert body["input"]["examples"].startswith("data:text/csv;base64,")


def test_a_training_that_fails_says_why(gateway: FakeGateway, trainer: Trainer):
    trainer.error = "no data"
    result = samovar(gateway, "train", "me/pupil", "--destination", "me/tuned", "--json")
    assert result.returncode == 1
    assert "samovar: failed: no data\n" in result.stderr
    assert json.decode(result.stdout)["id"] == "t1"
    assert samovar(gateway, "trainings", "watch", "t1").returncode == 1


def test_a_model_without_training_is_refused_before_anything_is_sent(gateway: FakeGateway, trainer: Trainer):
    gateway.versions.append("a" * 64)
    result = samovar(gateway, "train", "me/mine", "--destination", "me/tuned")
    assert (result.returncode, trainer.bodies) == (1, [])
    assert "me/mine: this model cannot be trained" in result.stderr
    refused = samovar(gateway, "train", "me/pupil", "--destination", "me/tuned", "-i", "text=x")
    assert "it has examples, epochs" in refused.stderr


def test_trainings_are_listed_a_line_each(gateway: FakeGateway, trainer: Trainer):
    result = samovar(gateway, "trainings", "list")
    assert result.stdout == "t1\tme/pupil\tme/tuned\tfailed\t2026-11-25T12:00:00Z\t\n"
    assert samovar(gateway, "trainings", "cancel", "t1").stdout == "canceled\n"


def test_an_interrupt_cancels_the_training(gateway: FakeGateway, trainer: Trainer):
    gateway.may_finish.clear()
    command = [SAMOVAR, "train", "me/pupil", "--destination", "me/tuned"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment(gateway)) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "loss" in line:
                os.kill(process.pid, signal.SIGINT)
                break
        assert process.wait(20) == 130
    assert gateway.canceled.is_set()
