"""Folders that an agent was given."""

from pathlib import Path

from runners.settings import Settings
from tests.runners.conftest import Front, running, text_of
from tests.runners.pushing import folder_of


async def test_a_folder_that_waits_for_its_environment_holds_nobody_up(
    front: Front, nats_url: str, settings: Settings, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    config = f"build:\n  run:\n    - until test -e {gate}; do sleep 0.05; done\n"
    models = (str(folder_of(tmp_path / "slow", config=config)), *settings.models)
    async with running(settings, nats_url=nats_url, models=models, cache_dir=str(tmp_path / "cache")):
        await front.until(lambda: "hello-world" in front.offers)
        assert "slow" not in front.offers
        gate.touch()
        await front.until(lambda: "slow" in front.offers)
        assert text_of(await front.final(await front.submit("slow", text="late"))) == "pushed late"


async def test_an_environment_that_cannot_be_made_leaves_its_folder_out(
    front: Front, nats_url: str, settings: Settings, tmp_path: Path
) -> None:
    bad = folder_of(tmp_path / "bad", config="build:\n  run:\n    - exit 1\n")
    good = folder_of(tmp_path / "good", config="build:\n  run:\n    - exit 0\n")
    cache = str(tmp_path / "cache")
    async with running(settings, nats_url=nats_url, models=(str(bad), str(good)), cache_dir=cache):
        await front.until(lambda: "good" in front.offers)
        assert "bad" not in front.offers
