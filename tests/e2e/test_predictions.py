"""Create, get, wait, list: what a client sees of a prediction from beginning to end."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec import json

from benchmarks.stack import Stack
from tests.live import Api

ALWAYS = {"id", "model", "version", "input", "output", "error", "status", "created_at", "data_removed", "urls"}


async def test_a_wait_is_answered_with_the_whole_prediction(api: Api) -> None:
    answer = await api.post("hello-world", {"text": "Ann"}, Prefer="wait=10")
    prediction = answer.json()
    assert answer.status_code == 201
    assert answer.headers["Preference-Applied"] == "wait=10"
    assert answer.headers["Location"] == prediction["urls"]["get"]
    assert prediction["status"] == "succeeded"
    assert prediction["output"] == "hello Ann"
    assert prediction["input"] == {"text": "Ann"}
    assert prediction["model"] == "samovar/hello-world"
    assert prediction["metrics"]["predict_time"] >= 0
    assert prediction["metrics"]["total_time"] >= prediction["metrics"]["predict_time"]
    times = [datetime.fromisoformat(prediction[name]) for name in ("created_at", "started_at", "completed_at")]
    assert times == sorted(times)


async def test_a_create_without_a_wait_is_answered_at_once(api: Api, closed: str, gate: Callable[[], Path]) -> None:
    answer = await api.post("gated", {"gate": closed})
    prediction = answer.json()
    assert answer.status_code == 201
    assert prediction["status"] == "starting"
    assert prediction.keys() >= ALWAYS
    assert prediction["output"] is None
    assert all(isinstance(url, str) and url.startswith("http") for url in prediction["urls"].values())
    gate()
    assert (await api.wait_until_final(prediction["id"]))["output"] == "through"


async def test_a_wait_that_runs_out_says_starting_even_of_one_that_runs(
    api: Api, closed: str, gate: Callable[[], Path]
) -> None:
    answer = await api.post("gated", {"gate": closed}, Prefer="wait=1")
    assert answer.status_code == 202
    assert answer.json()["status"] == "starting"
    assert answer.json()["output"] is None
    await api.wait_until(answer.json()["id"], lambda prediction: prediction["status"] == "processing")
    gate()
    await api.wait_until_final(answer.json()["id"])


async def test_a_get_tells_the_same_as_the_wait_did(api: Api) -> None:
    prediction = await api.run("hello-world", {"text": "again"})
    assert await api.get(prediction["id"]) == prediction


async def test_a_client_that_hangs_up_does_not_cancel(api: Api, closed: str, gate: Callable[[], Path]) -> None:
    waiting = asyncio.create_task(api.post("gated", {"gate": closed}, Prefer="wait"))
    waiting_prediction = await api.wait_until_at_gate(closed)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    gate()
    assert (await api.wait_until_final(waiting_prediction["id"]))["status"] == "succeeded"


async def test_output_is_readable_while_it_grows(api: Api, closed: str, gate: Callable[[], Path]) -> None:
    created = await api.create("parts", {"parts": '["a", "b", "c"]', "gate": closed})
    growing = await api.wait_until(created["id"], lambda prediction: bool(prediction["output"]))
    assert growing["status"] == "processing"
    assert growing["output"] == ["a"]
    gate()
    assert (await api.wait_until_final(created["id"]))["output"] == ["a", "b", "c"]


@pytest.mark.parametrize("value", [None, True, 1.5, [], {"b": 1, "a": {"ü": [None, "\u2028"]}}, "text", ["a\r\nb", ""]])
async def test_any_json_value_comes_back_as_it_was(api: Api, value: Any) -> None:
    prediction = await api.run("values", {"value": json.encode(value).decode()})
    assert prediction["output"] == value
    assert json.encode((await api.get(prediction["id"]))["output"]) == json.encode(value)


async def test_every_form_of_a_version_is_accepted(api: Api) -> None:
    model = (await api.http.get("/v1/models/samovar/hello-world")).json()
    version = model["latest_version"]["id"]
    for name in (version, "samovar/hello-world", f"samovar/hello-world:{version}"):
        body = {"version": name, "input": {"text": "form"}}
        answer = await api.http.post("/v1/predictions", json=body, headers={"Prefer": "wait"})
        assert answer.json()["output"] == "hello form"
        assert answer.json()["version"] == version


@pytest.mark.parametrize("mount", ["", "/v1", "/v1/v1"])
async def test_the_api_is_mounted_where_clients_look_for_it(api: Api, mount: str) -> None:
    answer = await api.http.post(
        f"{mount}/models/samovar/hello-world/predictions", json={"input": {"text": "x"}}, headers={"Prefer": "wait"}
    )
    assert answer.json()["output"] == "hello x"
    assert (await api.http.get(f"{mount}/account")).json()["username"]


async def test_the_list_is_newest_first_and_its_pages_meet(api: Api) -> None:
    created = [await api.run("hello-world", {"text": str(number)}) for number in range(110)]
    seen: list[dict[str, Any]] = []
    page: str | None = "/v1/predictions"
    sizes: list[int] = []
    while page and len(seen) < 110:
        answer = (await api.http.get(page)).json()
        seen += answer["results"]
        sizes.append(len(answer["results"]))
        page = answer["next"]
        assert page is None or page.startswith("http")
    assert sizes[0] == 100
    assert [row["id"] for row in seen[:110]] == [prediction["id"] for prediction in reversed(created)]
    assert len({row["id"] for row in seen}) == len(seen)


async def test_a_page_can_begin_and_end_at_a_time(api: Api) -> None:
    first, second = [await api.run("hello-world", {"text": name}) for name in ("first", "second")]
    between = {"created_after": first["created_at"], "created_before": first["created_at"]}
    assert [row["id"] for row in (await api.http.get("/v1/predictions", params=between)).json()["results"]] == [
        first["id"]
    ]
    since = {"created_after": second["created_at"]}
    assert [row["id"] for row in (await api.http.get("/v1/predictions", params=since)).json()["results"]] == [
        second["id"]
    ]


async def test_models_and_versions_can_be_read(api: Api) -> None:
    listed = (await api.http.get("/v1/models")).json()["results"]
    assert {"hello-world", "count"} <= {model["name"] for model in listed}
    versions = (await api.http.get("/v1/models/samovar/count/versions")).json()["results"]
    version = (await api.http.get(f"/v1/models/samovar/count/versions/{versions[0]['id']}")).json()
    assert version["openapi_schema"]["components"]["schemas"]["Output"]["x-cog-array-type"] == "iterator"
    assert isinstance(version["cog_version"], str)


async def test_files_of_the_output_can_be_fetched_without_a_token(api: Api, stack: Stack) -> None:
    prediction = await api.run("painter", {"text": "blue", "count": 2})
    assert prediction["status"] == "succeeded", prediction
    for number, url in enumerate(prediction["output"]):
        answer = await api.http.get(url, headers={"Authorization": ""})
        assert url.startswith(stack.url)
        assert answer.status_code == 200
        assert answer.text == f"blue {number}"
        assert answer.headers["content-type"].startswith("text/plain")


async def test_200_concurrent_waits_are_all_answered_right(api: Api) -> None:
    answers = await asyncio.gather(*(api.run("hello-world", {"text": str(number)}) for number in range(200)))
    assert [answer["output"] for answer in answers] == [f"hello {number}" for number in range(200)]
    assert len({answer["id"] for answer in answers}) == 200
