"""`replicate` 1.0.7 from PyPI, unmodified: what its users do works, sync and async."""

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from replicate.client import Client
from replicate.exceptions import ModelError, ReplicateError

from benchmarks.stack import Stack
from tests.contract.conftest import open_client
from tests.live import Api

SCRIPT = """
import replicate
print(replicate.run("samovar/hello-world", input={"text": "Ann"}))
"""
CAPITAL = {"prompt": "What is the capital of France? Answer in one sentence.", "temperature": 0, "max_tokens": 30}


def test_two_environment_variables_are_all_it_takes(stack: Stack) -> None:
    env = {**os.environ, "REPLICATE_BASE_URL": stack.url, "REPLICATE_API_TOKEN": stack.token}
    result = subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, check=True)
    assert result.stdout == "hello Ann\n"


def test_run_gives_the_output(replicate: Client) -> None:
    assert replicate.run("samovar/hello-world", input={"text": "Ann"}) == "hello Ann"


async def test_async_run_gives_the_output(replicate: Client) -> None:
    assert await replicate.async_run("samovar/hello-world", input={"text": "Ann"}) == "hello Ann"


@pytest.mark.parametrize("wait", [True, False, 5])
def test_run_waits_in_every_way(replicate: Client, wait: Any) -> None:
    assert replicate.run("samovar/hello-world", input={"text": "Ann"}, wait=wait) == "hello Ann"


def test_a_version_runs_an_iterator_as_a_generator(replicate: Client) -> None:
    version = replicate.models.get("samovar/count").latest_version
    assert version is not None
    output: Any = replicate.run(f"samovar/count:{version.id}", input={"n": 3})
    assert list(output) == ["0", "1", "2"]


def test_stream_gives_every_chunk(replicate: Client) -> None:
    events = list(replicate.stream("samovar/count", input={"n": 4}))
    assert [str(event) for event in events if event.event.value == "output"] == ["0", "1", "2", "3"]
    assert events[-1].event.value == "done"


async def test_async_stream_gives_every_chunk(replicate: Client) -> None:
    events = [event async for event in await replicate.async_stream("samovar/count", input={"n": 4})]
    assert [str(event) for event in events if event.event.value == "output"] == ["0", "1", "2", "3"]


def test_a_stream_of_a_failing_model_raises(replicate: Client) -> None:
    with pytest.raises(RuntimeError, match="no more parts"):
        list(replicate.stream("samovar/parts", input={"parts": '["a"]', "fail": True}))


def test_predictions_are_listed_page_by_page(replicate: Client) -> None:
    created = [replicate.predictions.create(model="samovar/hello-world", input={"text": str(n)}).id for n in range(105)]
    first = replicate.predictions.list()
    assert len(first.results) == 100
    assert first.next is not None
    second = replicate.predictions.list(first.next)
    assert [p.id for p in [*first.results, *second.results]][:105] == created[::-1]


def test_a_prediction_is_canceled(replicate: Client) -> None:
    prediction = replicate.predictions.create(model="samovar/count", input={"n": 1, "delay": 60})
    prediction.cancel()
    prediction.wait()
    assert prediction.status == "canceled"


async def test_a_prediction_is_canceled_by_an_async_client(replicate: Client, api: Api, closed: str) -> None:
    prediction = await replicate.predictions.async_create(model="samovar/gated", input={"gate": closed})
    await api.wait_until(prediction.id, lambda p: p["status"] == "processing")
    await prediction.async_cancel()
    await prediction.async_wait()
    assert prediction.status == "canceled"


def test_a_failed_model_raises_its_own_message(replicate: Client) -> None:
    with pytest.raises(ModelError, match="lost my voice") as caught:
        replicate.run("samovar/speaker", input={"fail": True})
    assert caught.value.prediction.status == "failed"
    assert "one from print" in (caught.value.prediction.logs or "")


async def test_a_failed_model_raises_in_async_run(replicate: Client) -> None:
    with pytest.raises(ModelError, match="lost my voice"):
        await replicate.async_run("samovar/speaker", input={"fail": True})


@pytest.mark.parametrize(
    ("call", "status", "detail"),
    [
        pytest.param(lambda c: c.run("samovar/echo", input={}), 422, "text is required", id="input"),
        pytest.param(lambda c: c.run("samovar/nothing", input={}), 404, "could not be found", id="model"),
        pytest.param(lambda c: c.run("samovar/echo:" + "0" * 64, input={}), 422, "does not exist", id="version"),
        pytest.param(lambda c: c.predictions.get("0" * 26), 404, "could not be found", id="prediction"),
    ],
)
def test_errors_arrive_as_the_clients_errors(
    replicate: Client, call: Callable[[Client], Any], status: int, detail: str
) -> None:
    with pytest.raises(ReplicateError) as caught:
        call(replicate)
    assert caught.value.status == status
    assert detail in (caught.value.detail or "")


async def test_a_bad_token_is_refused(stack: Stack) -> None:
    async with open_client(stack.url, "wrong") as client:
        with pytest.raises(ReplicateError, match="valid authentication token"):
            client.run("samovar/hello-world", input={"text": "x"})


def test_models_and_versions_are_read(replicate: Client) -> None:
    model = replicate.models.get("samovar/hello-world")
    assert (model.owner, model.name, model.visibility) == ("samovar", "hello-world", "public")
    assert "samovar/hello-world" in {f"{m.owner}/{m.name}" for m in replicate.models.list().results}
    (version, *_) = model.versions.list()
    assert model.versions.get(version.id).openapi_schema["components"]["schemas"]["Input"]["required"] == ["text"]
    assert replicate.accounts.current().username


def test_files_come_as_urls(replicate: Client) -> None:
    """Over plain http, the client wraps no output in a file object."""
    output: Any = replicate.run("samovar/painter", input={"text": "red"})
    assert [url.split("://")[0] for url in output] == ["http"]


async def test_a_base_url_with_v1_works_too(stack: Stack) -> None:
    async with open_client(stack.url + "/v1", stack.token) as client:
        assert client.run("samovar/hello-world", input={"text": "x"}) == "hello x"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_language_model_streams_its_text(replicate: Client) -> None:
    events = list(replicate.stream("samovar/smollm2", input=CAPITAL))
    text = "".join(str(event) for event in events if event.event.value == "output")
    assert "Paris" in text
    assert len(events) > 4


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_language_model_streams_to_an_async_client(replicate: Client) -> None:
    events = [event async for event in await replicate.async_stream("samovar/smollm2", input=CAPITAL)]
    assert "Paris" in "".join(str(event) for event in events)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_embedding_is_a_unit_vector(replicate: Client) -> None:
    vector: Any = replicate.run("samovar/minilm", input={"text": "a sentence"})
    assert len(vector) == 384
    assert abs(sum(x * x for x in vector) - 1) < 1e-3
