import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import nats
import pytest
from msgspec import json
from nats.aio.client import Client
from nats.errors import Error

from deploy.errors import UsageError
from deploy.local.nats import NatsServer, parse_listen_address, prepare, run_nats
from schemas.subjects import stream_configs


@pytest.fixture(scope="module")
async def server(home: Path) -> AsyncGenerator[NatsServer]:
    async with run_nats(home / "guarded-nats") as server:
        yield server


class Connection:
    """A user's connection, and what the server refused it."""

    def __init__(self) -> None:
        self.client = Client()
        self.refused: asyncio.Queue[str] = asyncio.Queue()

    async def connect(self, url: str) -> None:
        async def note(error: Exception) -> None:
            await self.refused.put(str(error))

        await self.client.connect(url, error_cb=note)


@pytest.fixture
async def runner(server: NatsServer) -> AsyncGenerator[Connection]:
    connection = Connection()
    await connection.connect(server.urls["runner"])
    yield connection
    await connection.client.close()


@pytest.fixture
async def gateway(server: NatsServer) -> AsyncGenerator[Connection]:
    connection = Connection()
    await connection.connect(server.urls["gateway"])
    yield connection
    await connection.client.close()


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
async def test_a_runner_may_not_publish_what_only_a_gateway_publishes(runner: Connection, subject: str) -> None:
    await runner.client.publish(subject, b"")
    assert "permissions violation for publish" in (await asyncio.wait_for(runner.refused.get(), 5)).lower()


@pytest.mark.parametrize("subject", ["events.>", "live.>", "jobs.>", "$JS.API.>", ">"])
async def test_a_runner_may_not_subscribe_to_what_others_publish(runner: Connection, subject: str) -> None:
    await runner.client.subscribe(subject)
    assert "permissions violation for subscription" in (await asyncio.wait_for(runner.refused.get(), 5)).lower()


async def test_each_user_may_do_its_part(gateway: Connection, runner: Connection) -> None:
    configurations = stream_configs(replicas=1, queue_cap=10, events_age=900, events_bytes=1_000_000)
    for side in (runner, gateway):
        for name, configuration in configurations.items():
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


async def test_runners_keep_leases_in_a_bucket_of_their_own(runner: Connection) -> None:
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
    lease = await runner.client.request("$KV.INSTANCES.v.0", b"mine", headers=first)
    assert json.decode(lease.data)["seq"] == 1
    assert "error" in json.decode((await runner.client.request("$KV.INSTANCES.v.0", b"no", headers=first)).data)
    for question, body in (("$KV.INSTANCES.v.0", b""), ("", b'{"seq":1}')):
        subject = ".".join(filter(None, ("$JS.API.DIRECT.GET.KV_INSTANCES", question)))
        assert (await runner.client.request(subject, body)).data == b"mine"
    for call, body in (("MSG.GET", b'{"seq":1}'), ("PURGE", b""), ("INFO", b"")):
        answer = json.decode((await runner.client.request(f"$JS.API.STREAM.{call}.KV_INSTANCES", body)).data)
        assert "error" not in answer
    assert answer["state"]["messages"] == 0
    assert runner.refused.empty()


async def test_a_gateway_may_not_take_a_lease(gateway: Connection) -> None:
    await gateway.client.publish("$KV.INSTANCES.v.0", b"")
    assert "permissions violation for publish" in (await asyncio.wait_for(gateway.refused.get(), 5)).lower()


async def test_nobody_comes_in_without_a_password(server: NatsServer) -> None:
    client = Client()
    with pytest.raises(Error, match="Authorization Violation"):
        await client.connect(f"nats://127.0.0.1:{server.port}", allow_reconnect=False)
    await client.close()


async def test_messages_and_passwords_outlast_a_restart(home: Path) -> None:
    async with run_nats(home / "twice-nats") as first:
        client = await nats.connect(first.urls["gateway"])
        await client.jetstream().add_stream(name="JOBS", subjects=["jobs.>"])
        await client.jetstream().publish("jobs.a", b"kept")
        await client.close()
    async with run_nats(home / "twice-nats", port=first.port) as second:
        assert second.urls == first.urls
        client = await nats.connect(second.urls["gateway"])
        assert (await client.jetstream().get_last_msg("JOBS", "jobs.a")).data == b"kept"
        await client.close()


async def test_passwords_are_readable_by_the_owner_alone(server: NatsServer) -> None:
    folder = Path(server.command.argv[-1]).parent
    files = [folder / "server.conf", folder / "password-gateway", folder / "password-runner"]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert not any(url.split(":")[2].split("@")[0] in " ".join(server.command.argv) for url in server.urls.values())


def test_a_server_that_listens_on_all_addresses_is_reached_on_loopback(tmp_path: Path) -> None:
    server = prepare(tmp_path / "nats", log=tmp_path / "log", host="0.0.0.0", port=4321)
    assert json.decode((tmp_path / "nats" / "server.conf").read_bytes())["listen"] == "0.0.0.0:4321"
    assert server.urls["runner"].endswith("@127.0.0.1:4321")


@pytest.mark.parametrize("text", ["4222", ":4222", "0.0.0.0:", "0.0.0.0:many", "0.0.0.0:70000", "::1:4222"])
def test_a_bad_listen_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=f"--nats {text}: give an address"):
        parse_listen_address(text)


def test_a_listen_address_has_a_host_and_a_port() -> None:
    assert parse_listen_address("0.0.0.0:4222") == ("0.0.0.0", 4222)
