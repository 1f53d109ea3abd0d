"""A deployment on a running stack: what is bundled runs, and an update under load loses nothing."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmarks.stack import Stack
from tests.live import TIMEOUT, Api
from tests.push import push_successfully, write_folder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SAYS = """
import time
from cog import BasePredictor
class Predictor(BasePredictor):
    def setup(self):
        time.sleep(0.5)
    def predict(self, n: int) -> str:
        time.sleep(0.01)
        return "{answer}"
"""


async def latest_version(api: Api, model: str) -> str:
    """Return the newest version of a model, once it has one."""
    async with asyncio.timeout(TIMEOUT):
        while True:
            answer = await api.http.get(f"/v1/models/{model}")
            if answer.is_success:
                return answer.json()["latest_version"]["id"]
            await asyncio.sleep(0.05)


async def deploy(api: Api, name: str, model: str, version: str, **more: Any) -> str:
    """Create a deployment and return its path."""
    kinds = [each["sku"] for each in (await api.http.get("/v1/hardware")).json()]
    hardware = next((sku for sku in kinds if sku != "cpu"), "cpu")  # that of the only runner
    body = {"name": name, "model": model, "version": version, "hardware": hardware}
    body |= {"min_instances": 0, "max_instances": 1}
    answer = await api.http.post("/v1/deployments", json=body | more)
    assert answer.status_code == 200, answer.text
    return f"/v1/deployments/{answer.json()['owner']}/{name}"


async def run(api: Api, path: str, **input: Any) -> dict[str, Any]:
    answer = await api.http.post(f"{path}/predictions", json={"input": input})
    assert answer.status_code == 201, answer.text
    return await api.wait_until_final(answer.json()["id"])


async def wait_until_serving(api: Api, path: str, number: int) -> None:
    async with asyncio.timeout(TIMEOUT):
        while True:
            deployment = (await api.http.get(path)).json()
            if deployment["serving"]["number"] == number:
                return
            await asyncio.sleep(0.05)


async def test_a_deployment_of_a_bundled_model_runs(api: Api) -> None:
    version = await latest_version(api, "samovar/hello-world")
    path = await deploy(api, "hello", "samovar/hello-world", version, min_instances=1)
    ended = await run(api, path, text="you")
    assert (ended["status"], ended["version"]) == ("succeeded", version)
    assert ended["deployment"] == path.removeprefix("/v1/deployments/")
    assert (await api.http.delete(path)).status_code == 204


async def test_an_update_under_load_loses_nothing(api: Api, stack: Stack, tmp_path: Path) -> None:
    folders = [write_folder(tmp_path / answer, predict=SAYS.format(answer=answer)) for answer in ("one", "two")]
    first, second = [await asyncio.to_thread(push_successfully, stack, folder, "tester/deployed") for folder in folders]
    path = await deploy(api, "deployed", "tester/deployed", first.version)
    assert (await run(api, path, n=0))["output"] == "one"
    ended: list[dict[str, Any]] = []
    updated = asyncio.Event()

    async def load() -> None:
        """Run predictions until a while after the new release serves."""
        remaining = 10
        while remaining:
            ended.append(await run(api, path, n=len(ended)))
            remaining -= updated.is_set()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(8):
            tasks.create_task(load())
        answer = await api.http.patch(path, json={"version": second.version})
        assert answer.json()["upcoming"]["number"] == 2
        await wait_until_serving(api, path, 2)
        updated.set()

    assert {each["status"] for each in ended} == {"succeeded"}
    results = Counter((each["version"], each["output"]) for each in ended)
    assert set(results) == {(first.version, "one"), (second.version, "two")}
    assert (await run(api, path, n=0))["output"] == "two"
    assert (await api.http.delete(path)).status_code == 204
