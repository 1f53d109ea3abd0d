"""A training, from its job to a version that is set up with its weights."""

import hashlib
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from msgspec import Raw, json

from runners.settings import Settings
from schemas import events, keys, subjects
from schemas.events import Canceled, Crashed, Failed, Final, Log, Started, Succeeded
from schemas.inputs import FILE_PREFIX
from schemas.jobs import Job
from schemas.models import Manifest, TrainingResult, Weights, decode_training_result
from schemas.prediction import Prediction, replay
from tests.runners.conftest import FakeGateway, eventually, running_agent, text_of, worker_processes
from tests.runners.pushes import log_of, store_archive, submit_prediction, write_folder

pytestmark = pytest.mark.slow

PREDICT = """
from cog import BasePredictor


class Predictor(BasePredictor):
    def setup(self, weights=None):
        self.learned = open(weights).read() if weights else "nothing"

    def predict(self, text: str) -> str:
        return f"{self.learned} {text}"
"""

TRAIN = """
import os
import tempfile
import time

from cog import BaseModel, Input, Path



class TrainingOutput(BaseModel):
    weights: Path
    steps: int


def train(data: Path, steps: int = Input(default=1, ge=1), gate: str = "", ending: str = "") -> TrainingOutput:
    print(f"from {os.path.basename(os.environ.get('COG_WEIGHTS', 'nothing'))}")
    print(f"nice {os.nice(0)}")
    while gate and not os.path.exists(gate):
        time.sleep(0.01)
    if ending == "raises":
        raise ValueError("nothing to learn from")
    if ending == "dies":
        os._exit(7)
    if ending == "no weights":
        return "done"
    weights = Path(tempfile.mkdtemp()) / "learned.txt"
    weights.write_text(data.read_text() * steps)
    return TrainingOutput(weights=weights, steps=steps)
"""

ID = "t" * 26


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return tmp_path / "files"


@pytest.fixture
def pupil(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "pupil", PREDICT, 'train: "train.py:train"\n', **{"train.py": TRAIN})


@pytest.fixture
def changed(files: Path, tmp_path: Path, nats_url: str) -> dict[str, Any]:
    return {"nats_url": nats_url, "files_url": f"file://{files}", "cache_dir": str(tmp_path / "cache"), "models": ()}


@pytest.fixture
async def trainer(gateway: FakeGateway, settings: Settings, changed: dict[str, Any]) -> AsyncGenerator[FakeGateway]:
    async with running_agent(settings, **changed):
        yield gateway


async def train(gateway: FakeGateway, base: str, files: Path, id: str = ID, **input: Any) -> None:
    (files / "up/u1").mkdir(parents=True, exist_ok=True)
    (files / "up/u1/data.txt").write_text("lesson ")
    given = Raw(json.encode({"data": f"{FILE_PREFIX}up/u1/data.txt", **input}))
    job = Job(id=id, kind="train", model="ann/pupil", version=base, input=given, created_at=datetime.now(UTC))
    headers = {"Nats-Msg-Id": f"{id}:1"}
    await gateway.nc.jetstream().publish(subjects.trainings("default"), json.encode(job), headers=headers)


async def wait_trained(gateway: FakeGateway, id: str = ID) -> TrainingResult:
    final = await gateway.final(id, within=60)
    assert isinstance(final, Succeeded), final
    return decode_training_result(bytes(final.values[0]))


def store_trained_version(files: Path, base: str, trained: TrainingResult, name: str = "tuned") -> Manifest:
    """Store the manifest of a version with these weights, as a gateway does."""
    weights = Weights(
        key=trained.weights.key.removeprefix("file:"), sha256=trained.weights.sha256, size=trained.weights.size
    )
    manifest = Manifest(owner="ann", name=name, base=base, weights=weights)
    (files / keys.manifest(manifest.version)).parent.mkdir(parents=True, exist_ok=True)
    (files / keys.manifest(manifest.version)).write_bytes(json.encode(manifest))
    return manifest


async def test_a_training_returns_weights_for_another_version(trainer: FakeGateway, files: Path, pupil: Path) -> None:
    base = store_archive(files, pupil, name="pupil").version
    await train(trainer, base, files, steps=2)
    trained = await wait_trained(trainer)
    final = trainer.finals(ID)[0]
    key = trained.weights.key.removeprefix("file:")
    assert (files / key).read_text() == "lesson lesson "
    assert (trained.weights.size, trained.weights.sha256) == (14, hashlib.sha256(b"lesson lesson ").hexdigest())
    assert json.decode(bytes(trained.output)) == {"weights": f"file:{key}", "steps": 2}
    assert final.files == [key]
    assert {"predict_time", "queue_time"} <= final.metrics.keys()
    assert "batch_size" not in final.metrics
    assert "from nothing\nnice 10\n" in log_of(trainer, ID)
    await eventually(lambda: not worker_processes())
    manifest = store_trained_version(files, base, trained)
    await submit_prediction(trainer, manifest, "p" * 26, text="said")
    assert text_of(await trainer.final("p" * 26)) == "lesson lesson  said"


async def test_a_trained_version_can_be_trained_again(trainer: FakeGateway, files: Path, pupil: Path) -> None:
    base = store_archive(files, pupil, name="pupil").version
    await train(trainer, base, files)
    first = store_trained_version(files, base, await wait_trained(trainer))
    await train(trainer, first.version, files, "u" * 26, steps=3)
    second = store_trained_version(files, first.version, await wait_trained(trainer, "u" * 26))
    assert "from learned.txt\n" in log_of(trainer, "u" * 26)
    await submit_prediction(trainer, second, "p" * 26, text="said")
    assert text_of(await trainer.final("p" * 26)) == "lesson lesson lesson  said"


async def test_a_training_without_its_folder_here_is_left_to_another_agent(
    gateway: FakeGateway, settings: Settings, changed: dict[str, Any], files: Path, pupil: Path
) -> None:
    async with running_agent(settings, **{**changed, "agent": "bare"}):
        async with running_agent(settings, **{**changed, "models": (str(pupil),), "agent": "full"}):
            await gateway.wait_until(lambda: "pupil" in gateway.versions)
        base = gateway.versions["pupil"].version
        await train(gateway, base, files)

        async def it_waits() -> bool:
            info = await gateway.nc.jetstream().consumer_info(subjects.JOBS, subjects.training_consumer("default"))
            return (info.num_redelivered or 0) > 0 or (info.delivered.consumer_seq if info.delivered else 0) > 1

        await eventually(it_waits)
        assert ID not in gateway.events_by_id
        async with running_agent(settings, **{**changed, "models": (str(pupil),), "agent": "full"}):
            trained = await wait_trained(gateway)
            assert agent_of(gateway.finals(ID)[0]) == "full"
            manifest = store_trained_version(files, base, trained)
            await submit_prediction(gateway, manifest, "p" * 26, text="said")
            final = await gateway.final("p" * 26)
            assert (text_of(final), agent_of(final)) == ("lesson  said", "full")


async def test_a_canceled_training_is_killed_with_its_worker(
    trainer: FakeGateway, files: Path, pupil: Path, tmp_path: Path
) -> None:
    await train(trainer, store_archive(files, pupil, name="pupil").version, files, gate=str(tmp_path / "never"))
    await trainer.wait_until(lambda: "nice" in "".join(event.text for event in trainer.events(ID, Log)), within=30)
    [worker] = worker_processes()
    await trainer.cancel(ID, "not wanted")
    final = await trainer.final(ID)
    assert isinstance(final, Canceled)
    assert final.error == "not wanted"
    await eventually(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)


BAD = [
    pytest.param("raises", "nothing to learn from", id="raises"),
    pytest.param("no weights", "train returned no weights", id="no weights"),
]


@pytest.mark.parametrize(("ending", "error"), BAD)
async def test_a_failed_training_names_its_reason(
    trainer: FakeGateway, files: Path, pupil: Path, ending: str, error: str
) -> None:
    await train(trainer, store_archive(files, pupil, name="pupil").version, files, ending=ending)
    final = await trainer.final(ID, within=30)
    assert isinstance(final, Failed)
    assert final.error.startswith(error)
    assert final.files == []


async def test_a_version_without_a_train_fails_a_training(trainer: FakeGateway, files: Path, tmp_path: Path) -> None:
    await train(trainer, store_archive(files, write_folder(tmp_path / "m", PREDICT)).version, files)
    final = await trainer.final(ID, within=30)
    assert isinstance(final, Failed)
    assert final.error == "this version cannot be trained: its cog.yaml names no train"


async def test_a_training_whose_worker_dies_is_tried_three_times(
    trainer: FakeGateway, files: Path, pupil: Path
) -> None:
    await train(trainer, store_archive(files, pupil, name="pupil").version, files, ending="dies")
    final = await trainer.final(ID, within=60)
    assert isinstance(final, Failed)
    assert final.error.startswith("the worker died 3 times: exit code 7")
    assert len(trainer.events(ID, Crashed)) == 2


async def test_a_training_whose_agent_stops_is_restarted_by_another(
    gateway: FakeGateway, settings: Settings, changed: dict[str, Any], files: Path, pupil: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    base = store_archive(files, pupil, name="pupil").version
    async with running_agent(settings, **changed):
        await train(gateway, base, files, gate=str(gate))
        await gateway.wait_until(lambda: gateway.events(ID, Started), within=30)
    assert not gateway.finals(ID)
    gate.touch()
    async with running_agent(settings, **{**changed, "trainings": False, "agent": "other"}):
        await submit_prediction(gateway, store_archive(files, pupil, name="pupil"), "p" * 26, text="said")
        assert text_of(await gateway.final("p" * 26)) == "nothing said"
        assert not gateway.finals(ID)  # it leaves trainings to others
        async with running_agent(settings, **{**changed, "agent": "second"}):
            await wait_trained(gateway)
            assert agent_of(gateway.finals(ID)[0]) == "second"


async def test_predictions_run_beside_a_training(
    trainer: FakeGateway, files: Path, pupil: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    manifest = store_archive(files, pupil, name="pupil")
    await train(trainer, manifest.version, files, gate=str(gate))
    await trainer.wait_until(lambda: trainer.events(ID, Started), within=30)
    await submit_prediction(trainer, manifest, "p" * 26, text="said")
    assert text_of(await trainer.final("p" * 26)) == "nothing said"
    assert not trainer.finals(ID)
    gate.touch()
    await wait_trained(trainer)


async def test_a_training_outlives_its_first_events(
    gateway: FakeGateway, settings: Settings, changed: dict[str, Any], files: Path, pupil: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    jetstream = gateway.nc.jetstream()
    async with running_agent(settings, **changed, events_age=2):
        config = (await jetstream.stream_info(subjects.EVENTS)).config
        await jetstream.update_stream(config, max_age=2)
        await train(gateway, store_archive(files, pupil, name="pupil").version, files, gate=str(gate))
        await gateway.wait_until(lambda: gateway.events(ID, Log), within=30)

        async def it_is_gone() -> bool:
            return (await jetstream.stream_info(subjects.EVENTS)).state.messages == 0

        await eventually(it_is_gone)
        gate.touch()
        final = await gateway.final(ID)
        state = (await jetstream.stream_info(subjects.EVENTS)).state
        stored = [await jetstream.get_msg(subjects.EVENTS, seq) for seq in range(state.first_seq, state.last_seq + 1)]
    blank = Prediction(id=ID, account=0, model="", version="", input=Raw(b"{}"), created_at=datetime.now(UTC))
    prediction = replay(blank, [events.decode(message.data or b"") for message in stored])
    assert isinstance(final, Succeeded)
    assert prediction.status == "succeeded"
    assert prediction.logs == "from nothing\nnice 10\n"


async def test_weights_that_were_changed_are_not_used(trainer: FakeGateway, files: Path, pupil: Path) -> None:
    base = store_archive(files, pupil, name="pupil").version
    await train(trainer, base, files)
    manifest = store_trained_version(files, base, await wait_trained(trainer))
    assert manifest.weights is not None
    (files / manifest.weights.key).write_text("lessoN ")
    await submit_prediction(trainer, manifest, "p" * 26, text="said")
    final = await trainer.final("p" * 26)
    assert isinstance(final, Failed)
    assert "the sha256 of the weights is" in final.error


def agent_of(final: Final) -> str | None:
    return final.run.agent if final.run else None
