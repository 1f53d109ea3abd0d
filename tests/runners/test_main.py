"""A whole agent: registration, stop, and recovery."""

import asyncio
import shutil
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
from msgspec import json, structs
from nats.aio.msg import Msg

from deploy.local.nats import NatsUser, run_nats
from runners.settings import Settings
from schemas import subjects
from schemas.events import Failed, Output, Started, Succeeded
from schemas.models import Heartbeat, decode_heartbeat
from tests.runners.conftest import FakeGateway, connected_gateway, eventually, running_agent, text_of, worker_processes

ANYONE = NatsUser(name="anyone", publish=(">",), subscribe=(">",))


async def test_an_agent_registers_its_versions_and_answers(agent: FakeGateway) -> None:
    heartbeats: list[Heartbeat] = []

    async def receive(msg: Msg) -> None:
        heartbeats.append(decode_heartbeat(msg.data))

    await agent.nc.subscribe(subjects.HEARTBEATS, cb=receive)
    agent.versions.clear()
    await agent.nc.publish(subjects.HELLO)
    await agent.wait_until(lambda: agent.versions)
    offer = agent.versions["echo"]
    assert offer.owner == "samovar"
    assert len(offer.version) == 64
    assert b"paths" in bytes(offer.openapi_schema)
    assert (await agent.nc.request(subjects.PING, timeout=2)).data == b"tester"
    await agent.final(await agent.submit("echo", text="x"))
    await eventually(lambda: heartbeats and heartbeats[-1].warm == [offer.version])


async def test_a_folder_that_cannot_be_read_is_left_out(
    gateway: FakeGateway, nats_url: str, settings: Settings, tmp_path: Path
) -> None:
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "cog.yaml").write_text('predict: "predict.py:Predictor"\n')
    (bad / "predict.py").write_text("raise RuntimeError('no such luck')\n")
    models = (str(bad), str(tmp_path / "missing"), *settings.models)
    async with running_agent(settings, nats_url=nats_url, models=models):
        await gateway.wait_until(lambda: "hello-world" in gateway.versions)
        assert "bad" not in gateway.versions


async def test_an_agent_that_stops_requeues_its_jobs_and_leaves_no_process(
    gateway: FakeGateway, nats_url: str, settings: Settings, tmp_path: Path
) -> None:
    """Running and waiting jobs alike are run by the next agent, at once; a hanging worker does not hold it up."""
    gate = tmp_path / "gate"
    ids: list[str] = []
    async with running_agent(settings, nats_url=nats_url):
        await gateway.wait_until(lambda: "gated" in gateway.versions)
        ids += [await gateway.submit("gated", gate=str(gate), stubborn=True) for _ in range(4)]
        await gateway.wait_until(lambda: gateway.events(ids[0], Started))
        children = [psutil.Process(worker.pid) for worker in worker_processes()]
    assert not any(child.is_running() for child in children)
    gate.touch()
    async with asyncio.timeout(5), running_agent(settings, nats_url=nats_url):
        for id in ids:
            assert isinstance(await gateway.final(id), Succeeded)


async def test_a_drain_lets_running_jobs_end(
    gateway: FakeGateway, nats_url: str, settings: Settings, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    async with running_agent(settings, nats_url=nats_url, drain_seconds=10):
        await gateway.wait_until(lambda: "gated" in gateway.versions)
        id = await gateway.submit("gated", gate=str(gate))
        await gateway.wait_until(lambda: gateway.events(id, Started))
        asyncio.get_running_loop().call_later(0.2, gate.touch)
    assert isinstance(await gateway.final(id), Succeeded)


async def test_a_run_limit_fails_the_job(
    gateway: FakeGateway, nats_url: str, settings: Settings, tmp_path: Path
) -> None:
    async with running_agent(settings, nats_url=nats_url, run_limit=0.2):
        await gateway.wait_until(lambda: "gated" in gateway.versions)
        final = await gateway.final(await gateway.submit("gated", gate=str(tmp_path / "never")))
    assert isinstance(final, Failed)
    assert "run limit of 0.2 s" in final.error


async def test_an_idle_instance_is_evicted_and_loaded_again(
    gateway: FakeGateway, nats_url: str, settings: Settings
) -> None:
    async with running_agent(settings, nats_url=nats_url, idle_timeout=0.2):
        await gateway.wait_until(lambda: "echo" in gateway.versions)
        assert text_of(await gateway.final(await gateway.submit("echo", text="one"))) == "one"
        await eventually(lambda: not worker_processes())
        assert text_of(await gateway.final(await gateway.submit("echo", text="two"))) == "two"


@pytest.mark.slow
async def test_the_workers_of_a_killed_agent_end(
    gateway: FakeGateway, nats_url: str, settings: Settings, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    async with _agent_process(structs.replace(settings, nats_url=nats_url, ack_wait=1)) as process:
        await gateway.wait_until(lambda: "gated" in gateway.versions)
        id = await gateway.submit("gated", gate=str(gate), stubborn=True)
        await gateway.wait_until(lambda: gateway.events(id, Started))
        (worker,) = psutil.Process(process.pid).children()
        process.kill()
        await process.wait()
        await eventually(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)
    gate.touch()
    async with running_agent(settings, nats_url=nats_url, ack_wait=1):
        assert isinstance(await gateway.final(id), Succeeded)


async def test_a_signal_stops_it(gateway: FakeGateway, nats_url: str, settings: Settings, tmp_path: Path) -> None:
    async with _agent_process(structs.replace(settings, nats_url=nats_url)) as process:
        await gateway.wait_until(lambda: "gated" in gateway.versions)
        id = await gateway.submit("gated", gate=str(tmp_path / "never"))
        await gateway.wait_until(lambda: gateway.events(id, Started))
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


async def test_a_stop_does_not_wait_for_a_broker(settings: Settings) -> None:
    """Nobody listens on that port."""
    async with asyncio.timeout(10), running_agent(settings, nats_url="nats://127.0.0.1:1") as task:
        await eventually(lambda: not task.done())


@pytest.mark.parametrize("drain", [0, 60])
async def test_a_stop_does_not_wait_for_a_broker_that_went_away(
    settings: Settings, tmp_path: Path, drain: float
) -> None:
    """Nobody could hear of what it has in hand: that is left, a drain or not."""
    async with run_nats(tmp_path / "nats", users=[ANYONE]) as server:
        url = server.urls[ANYONE.name]
        async with (
            _agent_process(structs.replace(settings, nats_url=url, drain_seconds=drain)) as process,
            connected_gateway(url) as gateway,
        ):
            await gateway.nc.publish(subjects.HELLO)
            await gateway.wait_until(lambda: "gated" in gateway.versions)
            ids = [await gateway.submit("gated", gate=str(tmp_path / "never")) for _ in range(2)]
            await gateway.wait_until(lambda: gateway.events(ids[0], Started))
            broker = next(child for child in psutil.Process().children() if _listens(child, server.port))
            broker.kill()
            await eventually(lambda: not gateway.nc.is_connected)
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(3):
                assert await process.wait() == 0


def _listens(process: psutil.Process, port: int) -> bool:
    return any(c.status == psutil.CONN_LISTEN and c.laddr[1] == port for c in process.net_connections())


async def test_a_runners_login_is_enough(settings: Settings, tmp_path: Path) -> None:
    async with (
        run_nats(tmp_path / "nats") as server,
        running_agent(settings, nats_url=server.urls["runner"]),
        connected_gateway(server.urls["gateway"]) as gateway,
    ):
        await gateway.nc.publish(subjects.HELLO)
        await gateway.wait_until(lambda: "crasher" in gateway.versions)
        id = await gateway.submit("crasher", times=1, tally=str(tmp_path / "tally"))
        assert text_of(await gateway.final(id)) == "died 1 times"


@asynccontextmanager
async def _agent_process(settings: Settings) -> AsyncGenerator[Process]:
    """An agent in a process of its own."""
    program = (
        "import sys; from msgspec import json; from runners.main import serve; from runners.settings import Settings;"
        "import uvloop; uvloop.run(serve(json.decode(sys.stdin.read(), type=Settings)))"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdin=asyncio.subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(json.encode(settings))
    process.stdin.close()
    yield process
    if process.returncode is None:
        process.kill()
        await process.wait()


async def test_an_agent_survives_the_loss_of_jetstream(settings: Settings, tmp_path: Path) -> None:
    """The server is killed, and all it stored is gone: the events of a running job are published again."""
    home, gate = tmp_path / "nats", tmp_path / "gate"
    async with run_nats(home, users=[ANYONE]) as server:
        url, port = server.urls[ANYONE.name], server.port
        agent = asyncio.create_task(_agent(settings, url, asyncio.Event()))
        async with connected_gateway(url) as gateway:
            await gateway.nc.publish(subjects.HELLO)
            await gateway.wait_until(lambda: "parts" in gateway.versions)
            id = await gateway.submit("parts", parts='["a","b","c"]', gate=str(gate))
            await gateway.wait_until(lambda: gateway.events(id, Output) and gateway.events(id, Started))
    shutil.rmtree(home / "jetstream")
    async with run_nats(home, port=port, users=[ANYONE]), connected_gateway(url) as gateway:
        await gateway.wait_until(lambda: "parts" in gateway.versions)
        gate.touch()
        final = await gateway.final(id)
        assert isinstance(final, Succeeded)
        said = [json.decode(value) for event in gateway.events(id, Output) for value in event.values]
        assert [*said, *map(json.decode, final.values)] == ["a", "b", "c"]
        assert text_of(await gateway.final(await gateway.submit("hello-world", text="again"))) == "hello again"
        agent.cancel()
        with pytest.raises(asyncio.CancelledError):
            await agent


async def _agent(settings: Settings, url: str, stop: asyncio.Event) -> None:
    async with running_agent(settings, nats_url=url) as task:
        await asyncio.wait([task])
