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
from tests.gateway.conftest import Runner, frames, now


async def create(client: httpx.AsyncClient, model: str = "lines", **headers: str) -> dict:
    answer = await client.post(f"/v1/models/acme/{model}/predictions", json={"input": {"text": "hi"}}, headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def show(client: httpx.AsyncClient, id: str) -> dict:
    return (await client.get(f"/v1/predictions/{id}")).json()


async def until(client: httpx.AsyncClient, id: str, status: str) -> dict:
    async with asyncio.timeout(10):
        while (found := await show(client, id))["status"] != status:
            pass  # each look is a request
    return found


async def read(client: httpx.AsyncClient, url: str, last: str | None = None) -> list[tuple[str, str, str]]:
    headers = {"Last-Event-ID": last} if last else {}
    async with client.stream("GET", url, headers=headers) as response:
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        return [frame async for frame in frames(response)]


async def test_a_wait_is_answered_by_the_final_event(client: httpx.AsyncClient, runner: Runner):
    asked = asyncio.create_task(
        client.post("/v1/models/acme/echo/predictions", json={"input": {"text": "hi"}}, headers={"Prefer": "wait=5"})
    )
    await runner.echo(await runner.job())
    answer = await asked
    told = answer.json()
    assert (answer.status_code, told["status"], told["output"]) == (201, "succeeded", "echo hi")
    assert answer.headers["preference-applied"] == "wait=5"
    assert answer.headers["location"] == told["urls"]["get"]
    assert (await client.get(told["urls"]["get"])).json() == told
    assert "stream" in told["urls"]


async def test_a_wait_that_runs_out_reads_starting(client: httpx.AsyncClient, runner: Runner):
    asked = asyncio.create_task(
        client.post("/v1/models/acme/lines/predictions", json={"input": {"text": "hi"}}, headers={"Prefer": "wait=1"})
    )
    await runner.lines(await runner.job(), ["a"])
    answer = await asked
    told = answer.json()
    assert (answer.status_code, told["status"], told["output"]) == (202, "starting", None)
    assert (await show(client, told["id"]))["output"] == ["a"]


async def test_a_gateway_that_stops_answers_those_who_wait(client: httpx.AsyncClient, runner: Runner, start):
    waiting = asyncio.create_task(
        client.post("/v1/models/acme/lines/predictions", json={"input": {"text": "hi"}}, headers={"Prefer": "wait"})
    )
    job = await runner.job()
    made = await create(client)
    async with client.stream("GET", made["urls"]["stream"]) as response:
        following = response.aiter_lines()
        assert await anext(following) == ": welcome"
        await start.stop()
        answer = await waiting
        assert (answer.status_code, answer.json()["status"], answer.json()["id"]) == (202, "starting", job.id)
        assert [line async for line in following if line and not line.startswith(":")] == []


async def test_a_client_that_hangs_up_does_not_cancel(client: httpx.AsyncClient, runner: Runner):
    asked = asyncio.create_task(
        client.post("/v1/models/acme/echo/predictions", json={"input": {"text": "hi"}}, headers={"Prefer": "wait"})
    )
    job = await runner.job()
    asked.cancel()
    await runner.echo(job)
    assert (await until(client, job.id, "succeeded"))["output"] == "echo hi"


@pytest.mark.parametrize("reference", ["acme/echo", "a" * 64, "acme/echo:" + "a" * 64])
async def test_a_version_can_be_named_in_every_way(client: httpx.AsyncClient, runner: Runner, reference: str):
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
async def test_an_unknown_version_is_a_422(client: httpx.AsyncClient, runner: Runner, reference: str):
    answer = await client.post("/v1/predictions", json={"version": reference, "input": {"text": "hi"}})
    assert (answer.status_code, answer.json()["title"]) == (422, "Invalid version or not permitted")


async def test_an_unknown_model_is_a_404(client: httpx.AsyncClient, runner: Runner):
    answer = await client.post("/v1/models/acme/none/predictions", json={"input": {}})
    assert answer.status_code == 404
    assert answer.json() == {
        "detail": "The requested resource could not be found.",
        "status": 404,
        "title": "Not found",
    }


async def test_progress_is_seen_at_once(client: httpx.AsyncClient, runner: Runner):
    made = await create(client)
    run = await runner.lines(job := await runner.job(), ["a", "b"])
    seen = await show(client, made["id"])
    assert (seen["status"], seen["output"]) == ("processing", ["a", "b"])
    assert "started_at" in seen
    await runner.end(job, run, 2)
    assert (await show(client, made["id"]))["status"] == "succeeded"


async def test_the_record_alone_tells_the_whole_story(client: httpx.AsyncClient, runner: Runner, nc: Client):
    """Once it is written, streams and answers need no events: they may have expired."""
    made = await create(client)
    run = await runner.lines(job := await runner.job(), ["a", "b\nc"])
    await runner.end(job, run, 2)
    live = await read(client, made["urls"]["stream"])
    await recorded(client, nc, made["id"])
    assert await read(client, made["urls"]["stream"]) == live
    assert await read(client, made["urls"]["stream"], live[0][1]) == live[1:]
    assert [data for _, _, data in live] == ["a", "b\nc", "{}"]


async def recorded(client: httpx.AsyncClient, nc: Client, id: str) -> None:
    """Purge the events, until the record alone knows that it has ended."""
    async with asyncio.timeout(10):
        while True:
            body = plain.dumps({"filter": subjects.events_of(id)}).encode()
            await nc.request(f"$JS.API.STREAM.PURGE.{subjects.EVENTS}", body)
            if (await show(client, id))["status"] == "succeeded":
                return


async def test_a_stream_is_live_and_goes_on_through_another_gateway(client: httpx.AsyncClient, runner: Runner, start):
    made = await create(client)
    run = await runner.lines(job := await runner.job(), ["a", "b"])
    async with client.stream("GET", made["urls"]["stream"]) as response:
        following = frames(response)
        first = [await anext(following), await anext(following)]
    assert [data for _, _, data in first] == ["a", "b"]
    other = await start()
    url = made["urls"]["stream"].replace(str(client.base_url).rstrip("/"), other)
    asked = asyncio.create_task(read(client, url, first[0][1]))
    await runner.lines(job, ["a", "b", "c"], run)
    await runner.end(job, run, 3)
    assert [(event, data) for event, _, data in await asked] == [("output", "b"), ("output", "c"), ("done", "{}")]


async def test_an_idle_stream_is_kept_alive(client: httpx.AsyncClient, runner: Runner):
    made = await create(client)
    async with client.stream("GET", made["urls"]["stream"]) as response:
        lines = response.aiter_lines()
        said = [await anext(lines) for _ in range(6)]
    assert [line for line in said if line] == [": welcome", ": still here", ": still here"]


async def test_a_stream_url_cannot_be_guessed(client: httpx.AsyncClient, runner: Runner):
    made = await create(client)
    url = made["urls"]["stream"]
    assert (await client.get(url[:-1] + ("A" if url[-1] != "A" else "B"))).status_code == 404
    assert (await client.get(f"/v1/streams/{made['id']}")).status_code == 404


async def test_a_failure_is_told_to_all(client: httpx.AsyncClient, runner: Runner):
    made = await create(client)
    job = await runner.job()
    await runner.say(Failed(id=job.id, run=runner.run(), at=now(), started_at=now(), error="out of tea", log="hm\n"))
    seen = await until(client, made["id"], "failed")
    assert (seen["error"], seen["output"], seen["logs"]) == ("out of tea", None, "hm\n")
    assert [(event, data) for event, _, data in await read(client, made["urls"]["stream"])] == [
        ("error", '{"detail":"out of tea"}'),
        ("done", '{"reason":"error"}'),
    ]


async def test_a_queued_prediction_is_canceled_here(client: httpx.AsyncClient, runner: Runner):
    made = await create(client)
    answer = await client.post(f"/v1/predictions/{made['id']}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (200, "canceled")
    assert [(event, data) for event, _, data in await read(client, made["urls"]["stream"])] == [
        ("done", '{"reason":"canceled"}')
    ]


@pytest.mark.parametrize(
    ("event", "end", "seen"),
    [
        pytest.param({"index": 0, "values": [Raw(b'"a"')]}, {"outputs": 1, "many": True}, (["a"], ""), id="output"),
        pytest.param({"offset": 0, "text": "a"}, {"logs": 1}, (None, "a"), id="log"),
    ],
)
async def test_whoever_has_said_anything_has_it_and_cancels_it(
    client: httpx.AsyncClient, runner: Runner, event: dict[str, Any], end: dict[str, Any], seen: tuple[Any, str]
):
    """What is said at once is said before `Started`."""
    made = await create(client)
    job, run = await runner.job(), runner.run()
    await runner.say((Output if "values" in event else Log)(id=job.id, run=run, **event))
    told = (await client.post(f"/v1/predictions/{made['id']}/cancel")).json()
    assert told["status"] == "processing"
    await runner.say(Canceled(id=job.id, run=run, at=now(), **end))
    told = await until(client, made["id"], "canceled")
    assert (told["output"], told["logs"]) == seen


async def test_a_running_prediction_is_canceled_by_its_runner(client: httpx.AsyncClient, runner: Runner, nc: Client):
    made = await create(client)
    run = await runner.lines(job := await runner.job(), ["a"])
    wishes = await nc.subscribe(subjects.CANCELS)
    await nc.flush()
    asked = asyncio.create_task(client.post(f"/v1/predictions/{made['id']}/cancel"))
    assert made["id"] in (await wishes.next_msg(5)).data.decode()
    await runner.say(Canceled(id=job.id, run=run, at=now(), started_at=now(), outputs=1, many=True))
    told = (await asked).json()
    assert (told["status"], told["output"]) == ("canceled", ["a"])
    again = await client.post(f"/v1/predictions/{made['id']}/cancel")
    assert (again.status_code, again.json()["status"]) == (200, "canceled")


async def test_a_deadline_cancels_what_has_not_begun(client: httpx.AsyncClient, runner: Runner):
    made = await create(client, **{"Cancel-After": "5s"})
    assert "deadline" in made
    seen = await until(client, made["id"], "canceled")
    assert "before start" in seen["error"]


async def test_only_the_first_final_counts(client: httpx.AsyncClient, runner: Runner):
    made = await create(client, "echo")
    job = await runner.job()
    await runner.echo(job)
    with pytest.raises(Exception, match="wrong last sequence"):
        await runner.say(Failed(id=job.id, run=runner.run(), at=now(), error="too late"))
    assert (await until(client, made["id"], "succeeded"))["output"] == "echo hi"


async def test_pages_go_back_and_forth(client: httpx.AsyncClient, runner: Runner, settings: Settings):
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


async def test_a_list_can_be_narrowed(client: httpx.AsyncClient, runner: Runner):
    one, two = await create(client, "echo"), await create(client, "echo")
    after = (await client.get("/v1/predictions", params={"created_after": two["created_at"]})).json()
    assert [p["id"] for p in after["results"]] == [two["id"]]
    before = (await client.get("/v1/predictions", params={"created_before": one["created_at"]})).json()
    assert [p["id"] for p in before["results"]] == [one["id"]]
    assert (await client.get("/v1/predictions", params={"source": "web"})).json()["results"] == []
    made = (await client.get("/v1/predictions", params={"source": "api", "created_after": one["created_at"]})).json()
    assert [p["id"] for p in made["results"]] == [two["id"], one["id"]]


async def test_pages_stay_right_while_others_create(client: httpx.AsyncClient, runner: Runner):
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
async def test_a_wrong_query_is_no_fault_of_ours(client: httpx.AsyncClient, runner: Runner, query: str):
    assert (await client.get(f"/v1/predictions?{query}")).status_code == 400


@pytest.mark.parametrize("bound", ["0001-01-01T00:00:00", "9999-12-31T23:59:59Z", "2026-01-31", "2026-01-31T00:00:00"])
@pytest.mark.parametrize("name", ["created_after", "created_before"])
async def test_any_moment_may_bound_a_list(client: httpx.AsyncClient, runner: Runner, name: str, bound: str):
    assert (await client.get("/v1/predictions", params={name: bound})).status_code == 200
