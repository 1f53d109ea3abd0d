"""Webhooks, from the request that asks for them to a receiver that is there, is away, or is not to be trusted."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from itertools import pairwise
from typing import Any

import asyncpg
import httpx
import pytest
from msgspec import Raw, structs
from standardwebhooks import Webhook

from gateway.settings import Settings
from gateway.webhooks.outbox import MAX_CONCURRENT_PER_HOST
from schemas.events import Canceled, Failed, Log, Output, Succeeded
from tests.gateway.conftest import TOKEN, FakeRunner, now
from tests.gateway.receiver import Receiver, free_port, receiving
from tests.gateway.test_predictions import until

ALL_EVENTS = ["start", "output", "logs", "completed"]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return structs.replace(
        settings, webhook_allow="127.0.0.1,localhost", webhook_retry_seconds=0.05, webhook_timeout=1.0, page_size=50
    )


@pytest.fixture
async def receiver() -> AsyncGenerator[Receiver]:
    async with receiving(Receiver(free_port())) as receiver:
        yield receiver


async def create(client: httpx.AsyncClient, url: str, model: str = "lines", **rest: Any) -> dict[str, Any]:
    body = {"input": {"text": "hi"}, "webhook": url, **rest}
    answer = await client.post(f"/v1/models/acme/{model}/predictions", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def deliveries(client: httpx.AsyncClient, **query: str) -> list[dict[str, Any]]:
    answer = await client.get("/v1/webhooks/deliveries", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


async def wait_until_sent(client: httpx.AsyncClient, count: int = 1, **query: str) -> list[dict[str, Any]]:
    """Once that many have ended."""
    async with asyncio.timeout(10):
        while len(ended := [d for d in await deliveries(client, **query) if d["state"] != "pending"]) < count:
            pass  # each look is a request
    return ended


async def test_an_end_is_sent_signed_and_as_get_shows_it(
    client: httpx.AsyncClient, runner: FakeRunner, receiver: Receiver, url: str
):
    created = await create(client, receiver.url, "echo")
    await runner.publish_echo(await runner.next_job())
    [got] = await receiver.count(1)
    key = (await client.get("/v1/webhooks/default/secret")).json()["key"]
    assert key.count("_") == 1
    assert got.headers["content-type"] == "application/json"
    assert Webhook(key).verify(got.raw, got.headers) == got.body == (await client.get(created["urls"]["get"])).json()
    assert got.body["webhook"] == receiver.url
    assert got.body["urls"]["get"].startswith(url)
    [shown] = await wait_until_sent(client)
    assert (shown["id"], shown["state"], shown["event"], shown["prediction"]) == (
        got.id,
        "delivered",
        "completed",
        created["id"],
    )
    assert [attempt["status"] for attempt in shown["attempts"]] == [200]


async def test_urls_in_a_webhook_begin_with_the_base_that_its_creator_called(
    client: httpx.AsyncClient, runner: FakeRunner, receiver: Receiver
):
    body = {"input": {"text": "hi"}, "webhook": receiver.url}
    headers = {"X-Forwarded-Host": "models.example", "X-Forwarded-Proto": "https"}
    assert (await client.post("/v1/models/acme/echo/predictions", json=body, headers=headers)).status_code == 201
    await runner.publish_echo(await runner.next_job())
    [got] = await receiver.count(1)
    assert got.body["urls"]["get"] == f"https://models.example/v1/predictions/{got.body['id']}"


async def test_the_start_of_a_very_short_run_is_sent_before_its_end(
    client: httpx.AsyncClient, runner: FakeRunner, receiver: Receiver
):
    await create(client, receiver.url, "echo", webhook_events_filter=ALL_EVENTS)
    await runner.publish_echo(await runner.next_job())
    first, second = (await receiver.count(2))[:2]
    assert (first.body["status"], first.body["output"]) == ("processing", None)
    assert "completed_at" not in first.body
    assert (second.body["status"], second.body["output"]) == ("succeeded", "echo hi")
    assert len(await wait_until_sent(client, 2)) == 2


async def test_failed_and_canceled_are_ends_too(client: httpx.AsyncClient, runner: FakeRunner, receiver: Receiver):
    await create(client, receiver.url)
    job = await runner.next_job()
    await runner.publish(Failed(id=job.id, run=runner.next_run(), at=now(), started_at=now(), error="no"))
    await receiver.count(1)
    await create(client, receiver.url)
    job = await runner.next_job()
    await runner.publish(Canceled(id=job.id, run=None, at=now(), error=None))
    got = await receiver.count(2)
    assert [(each.body["status"], each.body["error"]) for each in got] == [("failed", "no"), ("canceled", None)]


async def test_output_is_sent_twice_a_second_at_most_and_in_order(
    client: httpx.AsyncClient, runner: FakeRunner, receiver: Receiver
):
    await create(client, receiver.url, webhook_events_filter=ALL_EVENTS)
    job = await runner.next_job()
    run = await runner.publish_lines(job, ["a"])
    await receiver.until(lambda got: any(each.body["output"] for each in got))
    for count in range(1, 40):
        await runner.publish(Output(id=job.id, run=run, index=count, values=[Raw(b'"b"')]))
        await runner.publish(Log(id=job.id, run=run, offset=count - 1, text="x"))
    await receiver.until(lambda got: len(got[-1].body["output"] or []) == 40)
    await runner.publish(Succeeded(id=job.id, run=run, at=now(), started_at=now(), outputs=40, logs=39, many=True))
    got = await receiver.until(lambda got: got[-1].body["status"] != "processing")
    told = [len(each.body["output"] or []) for each in got]
    assert told == sorted(told)
    assert told[0] == 0  # its start
    spans = [later.at - one.at for one, later in pairwise(got[1:-1])]
    assert all(span > 0.3 for span in spans), spans  # half a second, less what a request took longer than the next
    assert (await wait_until_sent(client, len(got)))[0]["event"] == "completed"


EVENT_FILTERS = [
    (None, ["completed"]),
    ([], ["completed"]),
    (["completed"], ["completed"]),
    (["start"], ["start"]),
    (["output"], ["output"]),  # though there was no time to tell it while it ran
    (["logs"], []),  # of a run that wrote none
]


async def test_only_the_requested_events_are_sent(client: httpx.AsyncClient, runner: FakeRunner, receiver: Receiver):
    for events, told in EVENT_FILTERS:
        created = await create(client, receiver.url, "echo", webhook_events_filter=events)
        await runner.publish_echo(await runner.next_job())
        await until(client, created["id"], "succeeded")
        await create(client, receiver.url, "echo")
        await runner.publish_echo(last := await runner.next_job())
        await receiver.until(lambda got, last=last: any(each.body["id"] == last.id for each in got))
        shown = await wait_until_sent(client, len(told), prediction=created["id"])
        assert [each["event"] for each in shown] == told


async def test_the_old_field_means_ends_alone(client: httpx.AsyncClient, runner: FakeRunner, receiver: Receiver):
    body = {"input": {"text": "hi"}, "webhook_completed": receiver.url}
    assert (await client.post("/v1/models/acme/echo/predictions", json=body)).status_code == 201
    await runner.publish_echo(await runner.next_job())
    assert (await receiver.count(1))[0].body["status"] == "succeeded"


async def test_a_receiver_that_was_away_gets_everything_once_it_is_back(client: httpx.AsyncClient, runner: FakeRunner):
    receiver = Receiver(free_port())
    created = set()
    for _ in range(5):
        created.add((await create(client, receiver.url, "echo"))["id"])
        await runner.publish_echo(await runner.next_job())
    async with asyncio.timeout(10):  # until each was tried in vain
        while len([each for each in await deliveries(client) if each["attempts"]]) < 5:
            pass
    assert {each["state"] for each in await deliveries(client)} == {"pending"}
    async with receiving(receiver):
        receiver.statuses = [500, 503, 404]
        await receiver.until(lambda got: len(got) >= 8, 20)
        shown = await wait_until_sent(client, 5)
    assert {each["state"] for each in shown} == {"delivered"}
    ids = {(each.body["id"], each.id) for each in receiver.got}
    assert {prediction for prediction, _ in ids} == created
    assert len(ids) == 5  # each under one id, however often it was sent
    assert {each["attempts"][0]["error"] for each in shown} == {"Connection refused"}


async def test_only_ends_are_tried_again(client: httpx.AsyncClient, runner: FakeRunner, receiver: Receiver):
    receiver.statuses = [500, 500]
    await create(client, receiver.url, "echo", webhook_events_filter=["start", "completed"])
    await runner.publish_echo(await runner.next_job())
    got = await receiver.count(3)
    assert [each.body["status"] for each in got] == ["processing", "succeeded", "succeeded"]
    assert [(each["event"], each["state"]) for each in await wait_until_sent(client, 2)] == [
        ("completed", "delivered"),
        ("start", "failed"),
    ]


async def test_an_unsent_webhook_outlives_its_gateway(client: httpx.AsyncClient, runner: FakeRunner, start: Any):
    receiver = Receiver(free_port())
    created = await create(client, receiver.url, "echo")
    await runner.publish_echo(await runner.next_job())
    await until(client, created["id"], "succeeded")
    await start.stop()
    async with receiving(receiver):
        await start()
        [got] = await receiver.count(1)
        assert (got.body["id"], got.body["status"]) == (created["id"], "succeeded")


async def test_gateways_share_the_work_and_never_double_it(
    client: httpx.AsyncClient, runner: FakeRunner, receiver: Receiver, start: Any
):
    await start()
    for _ in range(30):
        await create(client, receiver.url, "echo", webhook_events_filter=["start", "completed"])
        await runner.publish_echo(await runner.next_job())
    await receiver.until(lambda got: len(got) >= 60, 20)
    await wait_until_sent(client, 50)
    assert set(Counter(each.id for each in receiver.got).values()) == {1}
    order: dict[str, list[str]] = {}
    for each in receiver.got:
        order.setdefault(each.body["id"], []).append(each.body["status"])
    assert set(map(tuple, order.values())) == {("processing", "succeeded")}


async def test_a_webhook_in_hand_of_a_killed_gateway_is_sent_by_another(
    client: httpx.AsyncClient, runner: FakeRunner, receiver: Receiver, start: Any, database_url: str
):
    receiver.statuses = [None]
    await create(client, receiver.url, "echo")
    await runner.publish_echo(await runner.next_job())
    [first] = await receiver.count(1)
    await start.stop()
    connection = await asyncpg.connect(database_url)
    assert await connection.fetchval("SELECT due_at > now() FROM deliveries WHERE state = 'pending'")
    await connection.close()
    base = await start()
    again = (await receiver.count(2))[1]
    assert (again.id, again.body) == (first.id, first.body | {"urls": again.body["urls"]})
    async with httpx.AsyncClient(base_url=base, headers=client.headers) as other:
        [shown] = await wait_until_sent(other)
    assert shown["state"] == "delivered"


async def test_a_receiver_that_hangs_does_not_stop_others(
    client: httpx.AsyncClient, runner: FakeRunner, receiver: Receiver
):
    async with receiving(Receiver(free_port())) as slow:
        slow.usual = None
        for _ in range(12):
            await create(client, slow.url, "echo")
            await runner.publish_echo(await runner.next_job())
        await slow.count(1)
        await create(client, receiver.url, "echo")
        await runner.publish_echo(await runner.next_job())
        await receiver.count(1)
        await slow.until(lambda _: slow.most == MAX_CONCURRENT_PER_HOST)


async def test_redirects_are_not_followed(client: httpx.AsyncClient, runner: FakeRunner, receiver: Receiver):
    receiver.statuses = [307]
    await create(client, receiver.url, "echo")
    await runner.publish_echo(await runner.next_job())
    await receiver.count(2)
    assert {each.path for each in receiver.got} == {"/hook"}
    [shown] = await wait_until_sent(client)
    assert "redirects are not followed" in shown["attempts"][0]["error"]


async def test_a_delivery_can_be_sent_again_under_its_id(
    client: httpx.AsyncClient, runner: FakeRunner, receiver: Receiver
):
    receiver.statuses = [410]  # gone: not tried again
    await create(client, receiver.url, "echo")
    await runner.publish_echo(await runner.next_job())
    [shown] = await wait_until_sent(client)
    assert shown["state"] == "failed"
    again = (await client.post(f"/v1/webhooks/deliveries/{shown['id']}/redeliver")).json()
    assert again["id"] == shown["id"]
    first, second = await receiver.count(2)
    assert (first.id, first.body) == (second.id, second.body)
    [shown] = await wait_until_sent(client, state="delivered")
    assert [attempt["status"] for attempt in shown["attempts"]] == [410, 200]
    assert (await client.get(shown["urls"]["get"])).json() == shown


async def test_old_and_new_secret_both_verify_after_a_rotation(
    client: httpx.AsyncClient, runner: FakeRunner, receiver: Receiver
):
    old = (await client.get("/v1/webhooks/default/secret")).json()["key"]
    both = await asyncio.gather(*(client.post("/v1/webhooks/default/secret/rotate") for _ in range(2)))
    new = (await client.get("/v1/webhooks/default/secret")).json()["key"]
    assert new in {answer.json()["key"] for answer in both}
    assert new != old
    await create(client, receiver.url, "echo")
    await runner.publish_echo(await runner.next_job())
    [got] = await receiver.count(1)
    for key in old, new:
        Webhook(key).verify(got.raw, got.headers)


async def test_private_addresses_are_refused_unless_allowed(
    start: Any, settings: Settings, client: httpx.AsyncClient, runner: FakeRunner, receiver: Receiver
):
    """By name when it is sent, and told with what to set; another gateway may be stricter than the one that took it."""
    created = await create(client, receiver.url.replace("127.0.0.1", "localhost"), "echo")
    await runner.publish_echo(job := await runner.next_job())
    await receiver.count(1)
    [shown] = await wait_until_sent(client, prediction=created["id"])
    await start.stop()
    base = await start(structs.replace(settings, webhook_allow=""))
    async with httpx.AsyncClient(base_url=base, headers=client.headers) as strict:
        await strict.post(f"/v1/webhooks/deliveries/{shown['id']}/redeliver")
        [shown] = await wait_until_sent(strict, state="failed")
        assert "SAMOVAR_WEBHOOK_ALLOW" in shown["attempts"][-1]["error"]
        answer = await strict.post(
            "/v1/models/acme/echo/predictions", json={"input": {"text": "hi"}, "webhook": receiver.url}
        )
    assert (answer.status_code, answer.json()["invalid_fields"][0]["field"]) == (422, "webhook")
    assert "SAMOVAR_WEBHOOK_ALLOW" in answer.json()["detail"]
    assert len(receiver.got) == 1
    assert job.id == created["id"]


async def test_an_impossible_webhook_is_refused_before_anything_is_created(
    client: httpx.AsyncClient, runner: FakeRunner
):
    for webhook in "ftp://example.com", "", 7, "http://10.0.0.1/":
        body = {"input": {"text": "hi"}, "webhook": webhook}
        answer = await client.post("/v1/models/acme/echo/predictions", json=body)
        assert (answer.status_code, answer.json()["invalid_fields"][0]["field"]) == (422, "webhook")
    assert (await client.get("/v1/predictions")).json()["results"] == []


async def test_deliveries_come_in_pages_and_belong_to_their_account(
    client: httpx.AsyncClient, runner: FakeRunner, receiver: Receiver, start: Any, settings: Settings
):
    for _ in range(3):
        await create(client, receiver.url, "echo")
        await runner.publish_echo(await runner.next_job())
    shown = await wait_until_sent(client, 3)
    other = await start(structs.replace(settings, account="other", token="another-token", page_size=2))
    async with httpx.AsyncClient(base_url=other, headers={"Authorization": f"Bearer {TOKEN}"}) as mine:
        page = (await mine.get("/v1/webhooks/deliveries")).json()
        rest = (await mine.get(page["next"])).json()
    assert [each["id"] for each in page["results"] + rest["results"]] == [each["id"] for each in shown]
    async with httpx.AsyncClient(base_url=other, headers={"Authorization": "Bearer another-token"}) as theirs:
        assert (await theirs.get("/v1/webhooks/deliveries")).json()["results"] == []
        path = f"/v1/webhooks/deliveries/{shown[0]['id']}"
        assert (await theirs.get(path)).status_code == 404
        assert (await theirs.post(f"{path}/redeliver")).status_code == 404
        keys = [(await each.get("/v1/webhooks/default/secret")).json()["key"] for each in (client, theirs)]
    assert len(set(keys)) == 2
    assert (await client.get("/v1/webhooks/deliveries", params={"state": "lost"})).status_code == 400
    assert (await client.get("/v1/webhooks/deliveries", params={"prediction": "\0"})).status_code == 400


async def test_old_deliveries_are_deleted(
    client: httpx.AsyncClient, runner: FakeRunner, receiver: Receiver, start: Any, database_url: str
):
    await create(client, receiver.url, "echo")
    await runner.publish_echo(await runner.next_job())
    await wait_until_sent(client)
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE deliveries SET ended_at = now() - interval '15 days'")
    await start()  # it looks at once
    async with asyncio.timeout(10):
        while await connection.fetchval("SELECT count(*) FROM delivery_attempts"):
            pass
    await connection.close()
    assert await deliveries(client) == []
