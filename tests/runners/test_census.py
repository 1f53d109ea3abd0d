"""What an agent says of itself while a model comes, works and goes."""

from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from runners.settings import Settings
from schemas import subjects
from schemas.events import Started
from schemas.models import Presence, decode_presence
from tests.runners.conftest import Front, eventually, running

GATED = """
import os, time
def wait(path):
    while not os.path.exists(path):
        time.sleep(0.01)
class Predictor:
    def setup(self):
        wait("{setup}")
    def predict(self, gate: str) -> str:
        wait(gate)
        return "through"
"""


@pytest.fixture
async def said(nc: Client) -> list[Presence]:
    presences: list[Presence] = []

    async def heard(msg: Msg) -> None:
        presences.append(decode_presence(msg.data))

    await nc.subscribe(subjects.PRESENCE, cb=heard)
    return presences


async def test_what_is_offered_is_said_again_only_to_who_asks(
    front: Front, nats_url: str, settings: Settings, tmp_path: Path, nc: Client, said: list[Presence]
) -> None:
    folder = tmp_path / "gated"
    folder.mkdir()
    (folder / "cog.yaml").write_text("predict: predict.py:Predictor\n")
    (folder / "predict.py").write_text(GATED)
    async with running(settings, nats_url=nats_url, models=(str(folder),)):
        await eventually(lambda: said and not said[-1].versions)
        assert said[0].versions == [front.offers["gated"].version]
        before = len(said)
        await nc.publish(subjects.HELLO)
        await eventually(lambda: any(each.versions for each in said[before:]))
        assert len({each.edition for each in said}) == 1


async def test_a_model_is_said_to_start_to_work_and_to_be_gone(
    front: Front, nats_url: str, settings: Settings, tmp_path: Path, said: list[Presence]
) -> None:
    folder, setup, gate = tmp_path / "gated", tmp_path / "setup", tmp_path / "gate"
    folder.mkdir()
    (folder / "cog.yaml").write_text("predict: predict.py:Predictor\nenvironment: [SAMOVAR_MEMORY=60MB]\n")
    (folder / "predict.py").write_text(GATED.format(setup=setup))
    async with running(settings, nats_url=nats_url, models=(str(folder),), memory="1GB", idle_timeout=0.2):
        await front.until(lambda: "gated" in front.offers)
        version = front.offers["gated"].version
        id = await front.submit("gated", gate=str(gate))
        await eventually(lambda: said and said[-1].starting == {version: "loading"})
        assert (said[-1].warm, said[-1].residents[0].state) == ([], "starting")

        setup.touch()
        await front.until(lambda: front.events(id, Started))
        await eventually(lambda: said[-1].residents[0].running == 1)
        (device,), (resident,) = said[-1].devices, said[-1].residents
        assert (said[-1].warm, said[-1].starting) == ([version], {})
        assert (resident.model, resident.state, resident.number) == ("samovar/gated", "hot", 0)
        assert (resident.devices, resident.planned, device.planned) == (["cpu:0"], 60_000_000, 60_000_000)
        await eventually(lambda: 5_000_000 < said[-1].used == said[-1].residents[0].memory < 60_000_000)

        gate.touch()
        await front.final(id)
        await eventually(lambda: said[-1].residents == [])
        assert said[-1].counts | {"loads": 1, "evictions": 1} == said[-1].counts
