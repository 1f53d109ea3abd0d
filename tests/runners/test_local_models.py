"""The models of local folders."""

from pathlib import Path

from runners.settings import Settings
from tests.runners.conftest import FakeGateway, running_agent, text_of
from tests.runners.pushes import write_folder


async def test_a_folder_that_waits_for_its_environment_does_not_delay_others(
    gateway: FakeGateway, nats_url: str, settings: Settings, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    config = f"build:\n  run:\n    - until test -e {gate}; do sleep 0.05; done\n"
    models = (str(write_folder(tmp_path / "slow", config=config)), *settings.models)
    async with running_agent(settings, nats_url=nats_url, models=models, cache_dir=str(tmp_path / "cache")):
        await gateway.wait_until(lambda: "hello-world" in gateway.versions)
        assert "slow" not in gateway.versions
        gate.touch()
        await gateway.wait_until(lambda: "slow" in gateway.versions)
        assert text_of(await gateway.final(await gateway.submit("slow", text="late"))) == "pushed late"


async def test_a_folder_whose_environment_fails_is_left_out(
    gateway: FakeGateway, nats_url: str, settings: Settings, tmp_path: Path
) -> None:
    bad = write_folder(tmp_path / "bad", config="build:\n  run:\n    - exit 1\n")
    good = write_folder(tmp_path / "good", config="build:\n  run:\n    - exit 0\n")
    cache = str(tmp_path / "cache")
    async with running_agent(settings, nats_url=nats_url, models=(str(bad), str(good)), cache_dir=cache):
        await gateway.wait_until(lambda: "good" in gateway.versions)
        assert "bad" not in gateway.versions
