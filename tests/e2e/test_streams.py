"""Following a prediction: everything once, in order, from wherever one left off."""

import asyncio
import random
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import pytest
from msgspec import json

from tests import sse
from tests.live import Api, outputs


async def test_a_stream_says_every_chunk_and_done(api: Api) -> None:
    created = await api.create("count", {"n": 5})
    events = await api.collect_stream(created["urls"]["stream"])
    assert outputs(events) == ["0", "1", "2", "3", "4"]
    assert events[-1].event == "done"
    assert json.decode(events[-1].data) == {}
    assert all(event.id for event in events)
    assert len({event.id for event in events}) == len(events)


async def test_a_chunk_comes_while_the_model_still_runs(api: Api, closed: str, gate: Callable[[], Path]) -> None:
    created = await api.create("parts", {"parts": '["a", "b"]', "gate": closed})
    async with aclosing(api.stream(created["urls"]["stream"])) as events, asyncio.timeout(30):
        assert (await anext(events)).data == "a"
        gate()
        assert [event.event async for event in events] == ["output", "done"]


async def test_late_comers_get_everything(api: Api) -> None:
    created = await api.run("count", {"n": 3})
    assert outputs(await api.collect_stream(created["urls"]["stream"])) == ["0", "1", "2"]


async def test_a_stream_resumes_after_any_event(api: Api) -> None:
    created = await api.create("count", {"n": 4})
    whole = await api.collect_stream(created["urls"]["stream"])
    for place, event in enumerate(whole[:-1]):
        assert await api.collect_stream(created["urls"]["stream"], after=event.id) == whole[place + 1 :]


async def test_a_stream_resumes_while_the_model_runs(api: Api, closed: str, gate: Callable[[], Path]) -> None:
    created = await api.create("parts", {"parts": '["a", "b", "c"]', "gate": closed})
    async with aclosing(api.stream(created["urls"]["stream"])) as events:
        first = await anext(events)
    gate()
    assert outputs(await api.collect_stream(created["urls"]["stream"], after=first.id)) == ["b", "c"]


@pytest.mark.parametrize(
    "part",
    [
        pytest.param("line one\nline two\n", id="newlines"),
        pytest.param(" a leading space", id="a leading space"),
        pytest.param("grüße \U0001f600 \u2028", id="unicode"),
        pytest.param('"quoted" {"json": 1}', id="quotes"),
        pytest.param("data: looks like a field", id="a field"),
    ],
)
async def test_text_comes_through_unchanged(api: Api, part: str) -> None:
    created = await api.create("parts", {"parts": json.encode(["begin", part, "end"]).decode()})
    assert outputs(await api.collect_stream(created["urls"]["stream"])) == ["begin", part, "end"]


async def test_carriage_returns_end_lines(api: Api) -> None:
    created = await api.create("parts", {"parts": json.encode(["a\r\nb\rc"]).decode()})
    assert outputs(await api.collect_stream(created["urls"]["stream"])) == ["a\nb\nc"]


async def test_a_model_without_an_iterator_streams_its_one_output(api: Api) -> None:
    created = await api.create("hello-world", {"text": "stream"})
    assert outputs(await api.collect_stream(created["urls"]["stream"])) == ["hello stream"]


async def test_a_failure_is_streamed_after_the_output(api: Api) -> None:
    created = await api.create("parts", {"parts": '["a"]', "fail": True})
    events = await api.collect_stream(created["urls"]["stream"])
    assert [event.event for event in events] == ["output", "error", "done"]
    assert "no more parts" in json.decode(events[1].data)["detail"]
    assert json.decode(events[2].data) == {"reason": "error"}
    assert await api.collect_stream(created["urls"]["stream"], after=events[1].id) == events[2:]


async def test_a_canceled_prediction_streams_so(api: Api, closed: str) -> None:
    created = await api.create("parts", {"parts": '["a", "b"]', "gate": closed})
    async with aclosing(api.stream(created["urls"]["stream"])) as events, asyncio.timeout(30):
        assert (await anext(events)).data == "a"
        await api.cancel(created["id"])
        rest = [event async for event in events]
    assert [(event.event, json.decode(event.data)) for event in rest] == [("done", {"reason": "canceled"})]


async def test_on_request_a_stream_says_everything_else_too(api: Api) -> None:
    created = await api.create("parts", {"parts": '["a", "b"]', "gate": "/dev/null"})
    events = await api.collect_stream(created["urls"]["stream"] + "?events=all")
    kinds = {event.event for event in events}
    assert kinds >= {"status", "output", "metrics", "done"}
    statuses = [json.decode(event.data)["status"] for event in events if event.event == "status"]
    assert statuses[-1] == "succeeded"
    assert outputs(events) == ["a", "b"]


async def test_logs_are_streamed_on_request_only(api: Api, closed: str, gate: Callable[[], Path]) -> None:
    created = await api.create("parts", {"parts": '["a", "b"]', "gate": closed})
    async with aclosing(api.stream(created["urls"]["stream"] + "?events=all")) as events, asyncio.timeout(30):
        async for event in events:
            if event.event == "logs":
                assert "waiting at part 1" in event.data
                break
    gate()
    plain = await api.collect_stream(created["urls"]["stream"])
    assert {event.event for event in plain} == {"output", "done"}


async def test_a_guessed_stream_url_is_not_found(api: Api) -> None:
    created = await api.create("count", {"n": 1})
    for url in (
        created["urls"]["stream"][:-3] + "AAA",
        created["urls"]["stream"].rsplit("/", 1)[0] + "/" + created["id"],
    ):
        assert (await api.http.get(url)).status_code == 404


async def test_50_concurrent_streams_are_complete_and_in_order(api: Api) -> None:
    async def one(n: int) -> list[str]:
        created = await api.create("count", {"n": n})
        return outputs(await api.collect_stream(created["urls"]["stream"]))

    lengths = [random.Random(n).randrange(100) for n in range(50)]
    assert await asyncio.gather(*(one(n) for n in lengths)) == [[str(i) for i in range(n)] for n in lengths]


async def test_many_can_follow_one_prediction(api: Api, closed: str, gate: Callable[[], Path]) -> None:
    created = await api.create("parts", {"parts": '["a", "b", "c"]', "gate": closed})
    followers = [asyncio.create_task(api.collect_stream(created["urls"]["stream"])) for _ in range(10)]
    await api.wait_until(created["id"], lambda prediction: bool(prediction["output"]))
    gate()
    streams: list[list[sse.Event]] = await asyncio.gather(*followers)
    assert all(outputs(events) == ["a", "b", "c"] for events in streams)
    assert all(events == streams[0] for events in streams)
