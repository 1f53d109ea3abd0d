import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import nats
import pytest
from msgspec import json
from nats.aio.client import Client
from nats.errors import Error

from deploy.local.nats import Nats, running_nats
from schemas.subjects import streams


@pytest.fixture(scope="module")
async def server(home: Path) -> AsyncGenerator[Nats]:
    async with running_nats(home / "guarded-nats") as server:
        yield server


class Side:
    """One side's connection, and what the server refused it."""

    def __init__(self) -> None:
        self.client = Client()
        self.refused: asyncio.Queue[str] = asyncio.Queue()

    async def connect(self, url: str) -> None:
        async def note(error: Exception) -> None:
            await self.refused.put(str(error))

        await self.client.connect(url, error_cb=note)


@pytest.fixture
async def runner(server: Nats) -> AsyncGenerator[Side]:
    side = Side()
    await side.connect(server.urls["runner"])
    yield side
    await side.client.close()


@pytest.fixture
async def gateway(server: Nats) -> AsyncGenerator[Side]:
    side = Side()
    await side.connect(server.urls["gateway"])
    yield side
    await side.client.close()


@pytest.mark.parametrize(
    "subject",
    [
        "cancels",
        "wake.default.x",
        "$JS.API.STREAM.DELETE.JOBS",
        "$JS.API.STREAM.PURGE.EVENTS",
        "live.x",
        "$JS.API.STREAM.DELETE.KV_INSTANCES",
        "$JS.API.STREAM.CREATE.KV_OTHERS",
        "$KV.OTHERS.x",
    ],
)
async def test_a_runner_may_not_say_what_only_a_gateway_says(runner: Side, subject: str) -> None:
    await runner.client.publish(subject, b"")
    assert "permissions violation for publish" in (await asyncio.wait_for(runner.refused.get(), 5)).lower()


@pytest.mark.parametrize("subject", ["events.>", "live.>", "jobs.>", "$JS.API.>", ">"])
async def test_a_runner_may_not_listen_to_what_others_said(runner: Side, subject: str) -> None:
    await runner.client.subscribe(subject)
    assert "permissions violation for subscription" in (await asyncio.wait_for(runner.refused.get(), 5)).lower()


async def test_each_side_may_do_its_part(gateway: Side, runner: Side) -> None:
    wanted = streams(replicas=1, queue_cap=10, events_age=900, events_bytes=1_000_000)
    for side in (runner, gateway):
        for name, configuration in wanted.items():
            answer = await side.client.request(f"$JS.API.STREAM.CREATE.{name}", json.encode(configuration))
            assert "error" not in json.decode(answer.data)
    live = await gateway.client.subscribe("live.>")
    await gateway.client.flush()
    queue = await runner.client.jetstream().pull_subscribe("jobs.default.m.v.*", "default-v", stream="JOBS")
    await gateway.client.jetstream().publish("jobs.default.m.v.0", b"job")
    (job,) = await queue.fetch(1, timeout=5)
    await runner.client.jetstream().publish("events.aaaa.aaaab.final", b"final")
    await job.ack_sync()
    assert (await live.next_msg(5)).data == b"final"
    last = await runner.client.request("$JS.API.DIRECT.GET.EVENTS.events.aaaa.aaaab.final", b"")
    assert last.data == b"final"
    recorder = await gateway.client.jetstream().pull_subscribe("events.*.*.final", "recorder", stream="EVENTS")
    (final,) = await recorder.fetch(1, timeout=5)
    await final.ack_sync()
    assert runner.refused.empty()
    assert gateway.refused.empty()


async def test_runners_agree_in_a_bucket_of_their_own(runner: Side) -> None:
    config = {
        "name": "KV_INSTANCES",
        "subjects": ["$KV.INSTANCES.>"],
        "max_msgs_per_subject": 1,
        "discard": "new",
        "allow_direct": True,
        "allow_rollup_hdrs": True,
        "allow_msg_ttl": True,
    }
    for call in ("CREATE", "UPDATE"):
        answer = await runner.client.request(f"$JS.API.STREAM.{call}.KV_INSTANCES", json.encode(config))
        assert "error" not in json.decode(answer.data)
    first = {"Nats-Expected-Last-Subject-Sequence": "0", "Nats-TTL": "10s"}
    claim = await runner.client.request("$KV.INSTANCES.v.0", b"mine", headers=first)
    assert json.decode(claim.data)["seq"] == 1
    assert "error" in json.decode((await runner.client.request("$KV.INSTANCES.v.0", b"no", headers=first)).data)
    for question, body in (("$KV.INSTANCES.v.0", b""), ("", b'{"seq":1}')):
        subject = ".".join(filter(None, ("$JS.API.DIRECT.GET.KV_INSTANCES", question)))
        assert (await runner.client.request(subject, body)).data == b"mine"
    for call, body in (("MSG.GET", b'{"seq":1}'), ("PURGE", b""), ("INFO", b"")):
        answer = json.decode((await runner.client.request(f"$JS.API.STREAM.{call}.KV_INSTANCES", body)).data)
        assert "error" not in answer
    assert answer["state"]["messages"] == 0
    assert runner.refused.empty()


async def test_a_gateway_may_not_claim_an_instance(gateway: Side) -> None:
    await gateway.client.publish("$KV.INSTANCES.v.0", b"")
    assert "permissions violation for publish" in (await asyncio.wait_for(gateway.refused.get(), 5)).lower()


async def test_nobody_comes_in_without_a_password(server: Nats) -> None:
    client = Client()
    with pytest.raises(Error, match="Authorization Violation"):
        await client.connect(f"nats://127.0.0.1:{server.port}", allow_reconnect=False)
    await client.close()


async def test_messages_and_passwords_outlast_a_restart(home: Path) -> None:
    async with running_nats(home / "twice-nats") as first:
        client = await nats.connect(first.urls["gateway"])
        await client.jetstream().add_stream(name="JOBS", subjects=["jobs.>"])
        await client.jetstream().publish("jobs.a", b"kept")
        await client.close()
    async with running_nats(home / "twice-nats", port=first.port) as second:
        assert second.urls == first.urls
        client = await nats.connect(second.urls["gateway"])
        assert (await client.jetstream().get_last_msg("JOBS", "jobs.a")).data == b"kept"
        await client.close()


async def test_passwords_are_for_the_owner_alone(server: Nats) -> None:
    folder = Path(server.command.argv[-1]).parent
    kept = [folder / "server.conf", folder / "password-gateway", folder / "password-runner"]
    assert {path.stat().st_mode & 0o777 for path in kept} == {0o600}
    assert not any(url.split(":")[2].split("@")[0] in " ".join(server.command.argv) for url in server.urls.values())
