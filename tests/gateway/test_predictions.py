import asyncio
import json as plain
from typing import Any

import httpx
import pytest
from msgspec import Raw
from nats.aio.client import Client

from gateway.settings import Settings
from schemas import subjects
from schemas.events import Canceled, Failed, Log, Output
from tests.gateway.conftest import FakeRunner, frames, now


async def create(client: httpx.AsyncClient, model: str = "lines", **headers: str) -> dict:
    answer = await client.post(f"/v1/models/acme/{model}/predictions", json={"input": {"text": "hi"}}, headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def show(client: httpx.AsyncClient, id: str) -> dict:
    return (await client.get(f"/v1/predictions/{id}")).json()


async def until(client: httpx.AsyncClient, id: str, status: str) -> dict:
    async with asyncio.timeout(10):
        while (current := await show(client, id))["status"] != status:
            pass  # each look is a request
    return current


async def read(client: httpx.AsyncClient, url: str, last: str | None = None) -> list[tuple[str, str, str]]:
    headers = {"Last-Event-ID": last} if last else {}
    async with client.stream("GET", url, headers=headers) as response:
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        return [frame async for frame in frames(response)]


async def test_a_wait_is_answered_by_the_final_event(client: httpx.AsyncClient, runner: FakeRunner):
    pending = asyncio.create_task(
        client.post("/v1/models/acme/echo/predictions", json={"input": {"text": "hi"}}, headers={"Prefer": "wait=5"})
    )
    await runner.publish_echo(await runner.next_job())
    answer = await pending
    answered = answer.json()
    assert (answer.status_code, answered["status"], answered["output"]) == (201, "succeeded", "echo hi")
    assert answer.headers["preference-applied"] == "wait=5"
    assert answer.headers["location"] == answered["urls"]["get"]
    assert (await client.get(answered["urls"]["get"])).json() == answered
    assert "stream" in answered["urls"]


async def test_a_wait_that_runs_out_reads_starting(client: httpx.AsyncClient, runner: FakeRunner):
    pending = asyncio.create_task(
        client.post("/v1/models/acme/lines/predictions", json={"input": {"text": "hi"}}, headers={"Prefer": "wait=1"})
    )
    await runner.publish_lines(await runner.next_job(), ["a"])
    answer = await pending
    answered = answer.json()
    assert (answer.status_code, answered["status"], answered["output"]) == (202, "starting", None)
    assert (await show(client, answered["id"]))["output"] == ["a"]


async def test_a_gateway_that_stops_answers_those_who_wait(client: httpx.AsyncClient, runner: FakeRunner, start):
    waiting = asyncio.create_task(
        client.post("/v1/models/acme/lines/predictions", json={"input": {"text": "hi"}}, headers={"Prefer": "wait"})
    )
    job = await runner.next_job()
    created = await create(client)
    async with client.stream("GET", created["urls"]["stream"]) as response:
        stream = response.aiter_lines()
        assert await anext(stream) == ": welcome"
        await start.stop()
        answer = await waiting
        assert (answer.status_code, answer.json()["status"], answer.json()["id"]) == (202, "starting", job.id)
        assert [line async for line in stream if line and not line.startswith(":")] == []


async def test_a_client_that_hangs_up_does_not_cancel(client: httpx.AsyncClient, runner: FakeRunner):
    pending = asyncio.create_task(
        client.post("/v1/models/acme/echo/predictions", json={"input": {"text": "hi"}}, headers={"Prefer": "wait"})
    )
    job = await runner.next_job()
    pending.cancel()
    await runner.publish_echo(job)
    assert (await until(client, job.id, "succeeded"))["output"] == "echo hi"


@pytest.mark.parametrize("reference", ["acme/echo", "a" * 64, "acme/echo:" + "a" * 64])
async def test_a_version_can_be_named_in_every_way(client: httpx.AsyncClient, runner: FakeRunner, reference: str):
    answer = await client.post("/v1/predictions", json={"version": reference, "input": {"text": "hi"}})
    assert answer.status_code == 201, answer.text
    assert (answer.json()["version"], answer.json()["model"]) == ("a" * 64, "acme/echo")


@pytest.mark.parametrize(
    "reference",
    [
        "f" * 64,
        "acme/none",
        "acme/lines:" + "a" * 64,
        "acme/echo:",
        "acme/echo:" + "a" * 63,
        "acme/echo:\0",
        "acme/ec\0ho",
        "a" * 64 + ":",
        "x",
        "a/b/c:d",
        "",
    ],
)
async def test_an_unknown_version_is_a_422(client: httpx.AsyncClient, runner: FakeRunner, reference: str):
    answer = await client.post("/v1/predictions", json={"version": reference, "input": {"text": "hi"}})
    assert (answer.status_code, answer.json()["title"]) == (422, "Invalid version or not permitted")


async def test_an_unknown_model_is_a_404(client: httpx.AsyncClient, runner: FakeRunner):
    answer = await client.post("/v1/models/acme/none/predictions", json={"input": {}})
    assert answer.status_code == 404
    assert answer.json() == {
        "detail": "The requested resource could not be found.",
        "status": 404,
        "title": "Not found",
    }


async def test_progress_is_visible_at_once(client: httpx.AsyncClient, runner: FakeRunner):
    created = await create(client)
    run = await runner.publish_lines(job := await runner.next_job(), ["a", "b"])
    seen = await show(client, created["id"])
    assert (seen["status"], seen["output"]) == ("processing", ["a", "b"])
    assert "started_at" in seen
    await runner.succeed(job, run, 2)
    assert (await show(client, created["id"]))["status"] == "succeeded"


async def test_the_record_alone_has_the_whole_prediction(client: httpx.AsyncClient, runner: FakeRunner, nc: Client):
    """Once it is written, streams and answers need no events: they may have expired."""
    created = await create(client)
    run = await runner.publish_lines(job := await runner.next_job(), ["a", "b\nc"])
    await runner.succeed(job, run, 2)
    live = await read(client, created["urls"]["stream"])
    await wait_until_recorded(client, nc, created["id"])
    assert await read(client, created["urls"]["stream"]) == live
    assert await read(client, created["urls"]["stream"], live[0][1]) == live[1:]
    assert [data for _, _, data in live] == ["a", "b\nc", "{}"]


async def wait_until_recorded(client: httpx.AsyncClient, nc: Client, id: str) -> None:
    """Purge the events, until the record alone knows that it has ended."""
    async with asyncio.timeout(10):
        while True:
            body = plain.dumps({"filter": subjects.events_of(id)}).encode()
            await nc.request(f"$JS.API.STREAM.PURGE.{subjects.EVENTS}", body)
            if (await show(client, id))["status"] == "succeeded":
                return


async def test_a_stream_is_live_and_continues_at_another_gateway(client: httpx.AsyncClient, runner: FakeRunner, start):
    created = await create(client)
    run = await runner.publish_lines(job := await runner.next_job(), ["a", "b"])
    async with client.stream("GET", created["urls"]["stream"]) as response:
        stream = frames(response)
        first = [await anext(stream), await anext(stream)]
    assert [data for _, _, data in first] == ["a", "b"]
    other = await start()
    url = created["urls"]["stream"].replace(str(client.base_url).rstrip("/"), other)
    pending = asyncio.create_task(read(client, url, first[0][1]))
    await runner.publish_lines(job, ["a", "b", "c"], run)
    await runner.succeed(job, run, 3)
    assert [(event, data) for event, _, data in await pending] == [("output", "b"), ("output", "c"), ("done", "{}")]


async def test_an_idle_stream_is_kept_alive(client: httpx.AsyncClient, runner: FakeRunner):
    created = await create(client)
    async with client.stream("GET", created["urls"]["stream"]) as response:
        lines = response.aiter_lines()
        received = [await anext(lines) for _ in range(6)]
    assert [line for line in received if line] == [": welcome", ": still here", ": still here"]


async def test_a_stream_url_cannot_be_guessed(client: httpx.AsyncClient, runner: FakeRunner):
    created = await create(client)
    url = created["urls"]["stream"]
    assert (await client.get(url[:-1] + ("A" if url[-1] != "A" else "B"))).status_code == 404
    assert (await client.get(f"/v1/streams/{created['id']}")).status_code == 404


async def test_every_reader_sees_a_failure(client: httpx.AsyncClient, runner: FakeRunner):
    created = await create(client)
    job = await runner.next_job()
    await runner.publish(
        Failed(id=job.id, run=runner.next_run(), at=now(), started_at=now(), error="out of tea", log="hm\n")
    )
    seen = await until(client, created["id"], "failed")
    assert (seen["error"], seen["output"], seen["logs"]) == ("out of tea", None, "hm\n")
    assert [(event, data) for event, _, data in await read(client, created["urls"]["stream"])] == [
        ("error", '{"detail":"out of tea"}'),
        ("done", '{"reason":"error"}'),
    ]


async def test_a_queued_prediction_is_canceled_here(client: httpx.AsyncClient, runner: FakeRunner):
    created = await create(client)
    answer = await client.post(f"/v1/predictions/{created['id']}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (200, "canceled")
    assert [(event, data) for event, _, data in await read(client, created["urls"]["stream"])] == [
        ("done", '{"reason":"canceled"}')
    ]


@pytest.mark.parametrize(
    ("event", "end", "seen"),
    [
        pytest.param({"index": 0, "values": [Raw(b'"a"')]}, {"outputs": 1, "many": True}, (["a"], ""), id="output"),
        pytest.param({"offset": 0, "text": "a"}, {"logs": 1}, (None, "a"), id="log"),
    ],
)
async def test_a_runner_that_published_any_event_cancels_the_prediction_itself(
    client: httpx.AsyncClient, runner: FakeRunner, event: dict[str, Any], end: dict[str, Any], seen: tuple[Any, str]
):
    """The first output of a run may come before `Started`."""
    created = await create(client)
    job, run = await runner.next_job(), runner.next_run()
    await runner.publish((Output if "values" in event else Log)(id=job.id, run=run, **event))
    answered = (await client.post(f"/v1/predictions/{created['id']}/cancel")).json()
    assert answered["status"] == "processing"
    await runner.publish(Canceled(id=job.id, run=run, at=now(), **end))
    answered = await until(client, created["id"], "canceled")
    assert (answered["output"], answered["logs"]) == seen


async def test_a_running_prediction_is_canceled_by_its_runner(
    client: httpx.AsyncClient, runner: FakeRunner, nc: Client
):
    created = await create(client)
    run = await runner.publish_lines(job := await runner.next_job(), ["a"])
    wishes = await nc.subscribe(subjects.CANCELS)
    await nc.flush()
    pending = asyncio.create_task(client.post(f"/v1/predictions/{created['id']}/cancel"))
    assert created["id"] in (await wishes.next_msg(5)).data.decode()
    await runner.publish(Canceled(id=job.id, run=run, at=now(), started_at=now(), outputs=1, many=True))
    answered = (await pending).json()
    assert (answered["status"], answered["output"]) == ("canceled", ["a"])
    again = await client.post(f"/v1/predictions/{created['id']}/cancel")
    assert (again.status_code, again.json()["status"]) == (200, "canceled")


async def test_a_deadline_cancels_a_prediction_that_has_not_started(client: httpx.AsyncClient, runner: FakeRunner):
    created = await create(client, **{"Cancel-After": "5s"})
    assert "deadline" in created
    seen = await until(client, created["id"], "canceled")
    assert "before start" in seen["error"]


async def test_only_the_first_final_event_counts(client: httpx.AsyncClient, runner: FakeRunner):
    created = await create(client, "echo")
    job = await runner.next_job()
    await runner.publish_echo(job)
    with pytest.raises(Exception, match="wrong last sequence"):
        await runner.publish(Failed(id=job.id, run=runner.next_run(), at=now(), error="too late"))
    assert (await until(client, created["id"], "succeeded"))["output"] == "echo hi"


async def test_pages_go_back_and_forth(client: httpx.AsyncClient, runner: FakeRunner, settings: Settings):
    ids = [(await create(client, "echo"))["id"] for _ in range(7)][::-1]
    pages = [(await client.get("/v1/predictions")).json()]
    while pages[-1]["next"]:
        pages.append((await client.get(pages[-1]["next"])).json())
    assert [[p["id"] for p in page["results"]] for page in pages] == [ids[:3], ids[3:6], ids[6:]]
    assert pages[0]["previous"] is None
    back = (await client.get(pages[2]["previous"])).json()
    assert [p["id"] for p in back["results"]] == ids[3:6]
    first = (await client.get(back["previous"])).json()
    assert [p["id"] for p in first["results"]] == ids[:3]
    assert first["previous"] is None


async def test_a_list_can_be_filtered(client: httpx.AsyncClient, runner: FakeRunner):
    one, two = await create(client, "echo"), await create(client, "echo")
    after = (await client.get("/v1/predictions", params={"created_after": two["created_at"]})).json()
    assert [p["id"] for p in after["results"]] == [two["id"]]
    before = (await client.get("/v1/predictions", params={"created_before": one["created_at"]})).json()
    assert [p["id"] for p in before["results"]] == [one["id"]]
    assert (await client.get("/v1/predictions", params={"source": "web"})).json()["results"] == []
    created = (await client.get("/v1/predictions", params={"source": "api", "created_after": one["created_at"]})).json()
    assert [p["id"] for p in created["results"]] == [two["id"], one["id"]]


async def test_pages_stay_right_while_others_create(client: httpx.AsyncClient, runner: FakeRunner):
    old = [(await create(client, "echo"))["id"] for _ in range(8)][::-1]
    walking = True

    async def go_on() -> None:
        while walking:
            await create(client, "echo")

    others = asyncio.create_task(go_on())
    try:
        page = (await client.get("/v1/predictions", params={"source": "api"})).json()
        seen = [p["id"] for p in page["results"]]
        while page["next"]:
            page = (await client.get(page["next"])).json()
            seen += [p["id"] for p in page["results"]]
        assert seen[-len(old) :] == old
        back = [p["id"] for p in page["results"]]
        while page["previous"]:
            page = (await client.get(page["previous"])).json()
            back = [p["id"] for p in page["results"]] + back
    finally:
        walking = False
        await others
    assert len(back) == len(set(back))
    assert back[-len(seen) :] == seen
    assert len(back) > len(seen)  # it went on to what was made meanwhile


@pytest.mark.parametrize(
    "query",
    [
        "cursor=x",
        "cursor=00",
        "created_after=yesterday",
        "source=mail",
        "source=%00",
        "created_after=0001-01-01T00:00:00%2B14:00",
        "created_before=9999-12-31T23:59:59-14:00",
        "created_after=2026-13-01",
    ],
)
async def test_an_invalid_query_is_a_client_error(client: httpx.AsyncClient, runner: FakeRunner, query: str):
    assert (await client.get(f"/v1/predictions?{query}")).status_code == 400


@pytest.mark.parametrize("bound", ["0001-01-01T00:00:00", "9999-12-31T23:59:59Z", "2026-01-31", "2026-01-31T00:00:00"])
@pytest.mark.parametrize("name", ["created_after", "created_before"])
async def test_any_time_may_bound_a_list(client: httpx.AsyncClient, runner: FakeRunner, name: str, bound: str):
    assert (await client.get("/v1/predictions", params={name: bound})).status_code == 200
