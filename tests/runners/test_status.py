"""An agent's heartbeats while a model is loaded, runs and leaves."""

from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from runners.settings import Settings
from schemas import subjects
from schemas.events import Started
from schemas.models import Heartbeat, decode_heartbeat
from tests.runners.conftest import FakeGateway, eventually, running_agent

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
async def heartbeats(nc: Client) -> list[Heartbeat]:
    received: list[Heartbeat] = []

    async def receive(msg: Msg) -> None:
        received.append(decode_heartbeat(msg.data))

    await nc.subscribe(subjects.HEARTBEATS, cb=receive)
    return received


async def test_versions_are_sent_again_only_on_request(
    gateway: FakeGateway, nats_url: str, settings: Settings, tmp_path: Path, nc: Client, heartbeats: list[Heartbeat]
) -> None:
    folder = tmp_path / "gated"
    folder.mkdir()
    (folder / "cog.yaml").write_text("predict: predict.py:Predictor\n")
    (folder / "predict.py").write_text(GATED)
    async with running_agent(settings, nats_url=nats_url, models=(str(folder),)):
        await eventually(lambda: heartbeats and not heartbeats[-1].versions)
        assert heartbeats[0].versions == [gateway.versions["gated"].version]
        before = len(heartbeats)
        await nc.publish(subjects.HELLO)
        await eventually(lambda: any(each.versions for each in heartbeats[before:]))
        assert len({each.edition for each in heartbeats}) == 1


async def test_heartbeats_follow_an_instance_from_its_start_to_its_end(
    gateway: FakeGateway, nats_url: str, settings: Settings, tmp_path: Path, heartbeats: list[Heartbeat]
) -> None:
    folder, setup, gate = tmp_path / "gated", tmp_path / "setup", tmp_path / "gate"
    folder.mkdir()
    (folder / "cog.yaml").write_text("predict: predict.py:Predictor\nenvironment: [SAMOVAR_MEMORY=60MB]\n")
    (folder / "predict.py").write_text(GATED.format(setup=setup))
    async with running_agent(settings, nats_url=nats_url, models=(str(folder),), memory="1GB", idle_timeout=0.2):
        await gateway.wait_until(lambda: "gated" in gateway.versions)
        version = gateway.versions["gated"].version
        id = await gateway.submit("gated", gate=str(gate))
        await eventually(lambda: heartbeats and heartbeats[-1].starting == {version: "loading"})
        assert (heartbeats[-1].warm, heartbeats[-1].residents[0].state) == ([], "starting")

        setup.touch()
        await gateway.wait_until(lambda: gateway.events(id, Started))
        await eventually(lambda: heartbeats[-1].residents[0].running == 1)
        (device,), (resident,) = heartbeats[-1].devices, heartbeats[-1].residents
        assert (heartbeats[-1].warm, heartbeats[-1].starting) == ([version], {})
        assert (resident.model, resident.state, resident.number) == ("samovar/gated", "hot", 0)
        assert (resident.devices, resident.planned, device.planned) == (["cpu:0"], 60_000_000, 60_000_000)
        await eventually(lambda: 5_000_000 < heartbeats[-1].used == heartbeats[-1].residents[0].memory < 60_000_000)

        gate.touch()
        await gateway.final(id)
        await eventually(lambda: heartbeats[-1].residents == [])
        assert heartbeats[-1].counts | {"loads": 1, "evictions": 1} == heartbeats[-1].counts
