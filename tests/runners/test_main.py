"""An agent as a whole: what it says of itself, how it leaves, and what it survives."""

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

from deploy.local.nats import User, running_nats
from runners.settings import Settings
from schemas import subjects
from schemas.events import Failed, Output, Started, Succeeded
from schemas.models import Presence, decode_presence
from tests.runners.conftest import Front, eventually, fronting, running, text_of, workers

ANYONE = User(name="anyone", publish=(">",), subscribe=(">",))


async def test_an_agent_says_what_it_offers_and_answers(agent: Front) -> None:
    heard: list[Presence] = []

    async def hear(msg: Msg) -> None:
        heard.append(decode_presence(msg.data))

    await agent.nc.subscribe(subjects.PRESENCE, cb=hear)
    agent.offers.clear()
    await agent.nc.publish(subjects.HELLO)
    await agent.until(lambda: agent.offers)
    offer = agent.offers["echo"]
    assert offer.owner == "samovar"
    assert len(offer.version) == 64
    assert b"paths" in bytes(offer.openapi_schema)
    assert (await agent.nc.request(subjects.PING, timeout=2)).data == b"tester"
    await agent.final(await agent.submit("echo", text="x"))
    await eventually(lambda: heard and heard[-1].warm == [offer.version])


async def test_a_folder_that_cannot_be_read_is_left_out(
    front: Front, nats_url: str, settings: Settings, tmp_path: Path
) -> None:
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "cog.yaml").write_text('predict: "predict.py:Predictor"\n')
    (bad / "predict.py").write_text("raise RuntimeError('no such luck')\n")
    models = (str(bad), str(tmp_path / "missing"), *settings.models)
    async with running(settings, nats_url=nats_url, models=models):
        await front.until(lambda: "hello-world" in front.offers)
        assert "bad" not in front.offers


async def test_who_stops_gives_back_and_leaves_nothing(
    front: Front, nats_url: str, settings: Settings, tmp_path: Path
) -> None:
    """Running and waiting jobs alike are run by the next agent, at once; a hanging worker does not hold it up."""
    gate = tmp_path / "gate"
    ids: list[str] = []
    async with running(settings, nats_url=nats_url):
        await front.until(lambda: "gated" in front.offers)
        ids += [await front.submit("gated", gate=str(gate), stubborn=True) for _ in range(4)]
        await front.until(lambda: front.events(ids[0], Started))
        children = [psutil.Process(worker.pid) for worker in workers()]
    assert not any(child.is_running() for child in children)
    gate.touch()
    async with asyncio.timeout(5), running(settings, nats_url=nats_url):
        for id in ids:
            assert isinstance(await front.final(id), Succeeded)


async def test_a_drain_lets_running_jobs_end(front: Front, nats_url: str, settings: Settings, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with running(settings, nats_url=nats_url, drain_seconds=10):
        await front.until(lambda: "gated" in front.offers)
        id = await front.submit("gated", gate=str(gate))
        await front.until(lambda: front.events(id, Started))
        asyncio.get_running_loop().call_later(0.2, gate.touch)
    assert isinstance(await front.final(id), Succeeded)


async def test_a_run_limit_fails_the_job(front: Front, nats_url: str, settings: Settings, tmp_path: Path) -> None:
    async with running(settings, nats_url=nats_url, run_limit=0.2):
        await front.until(lambda: "gated" in front.offers)
        final = await front.final(await front.submit("gated", gate=str(tmp_path / "never")))
    assert isinstance(final, Failed)
    assert "run limit of 0.2 s" in final.error


async def test_an_idle_version_leaves_and_comes_back(front: Front, nats_url: str, settings: Settings) -> None:
    async with running(settings, nats_url=nats_url, idle_timeout=0.2):
        await front.until(lambda: "echo" in front.offers)
        assert text_of(await front.final(await front.submit("echo", text="one"))) == "one"
        await eventually(lambda: not workers())
        assert text_of(await front.final(await front.submit("echo", text="two"))) == "two"


@pytest.mark.slow
async def test_a_killed_agent_takes_its_workers_along(
    front: Front, nats_url: str, settings: Settings, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    async with _apart(structs.replace(settings, nats_url=nats_url, ack_wait=1)) as process:
        await front.until(lambda: "gated" in front.offers)
        id = await front.submit("gated", gate=str(gate), stubborn=True)
        await front.until(lambda: front.events(id, Started))
        (worker,) = psutil.Process(process.pid).children()
        process.kill()
        await process.wait()
        await eventually(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)
    gate.touch()
    async with running(settings, nats_url=nats_url, ack_wait=1):
        assert isinstance(await front.final(id), Succeeded)


async def test_a_signal_stops_it(front: Front, nats_url: str, settings: Settings, tmp_path: Path) -> None:
    async with _apart(structs.replace(settings, nats_url=nats_url)) as process:
        await front.until(lambda: "gated" in front.offers)
        id = await front.submit("gated", gate=str(tmp_path / "never"))
        await front.until(lambda: front.events(id, Started))
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


async def test_a_stop_does_not_wait_for_a_broker(settings: Settings) -> None:
    """Nobody listens on that port."""
    async with asyncio.timeout(10), running(settings, nats_url="nats://127.0.0.1:1") as task:
        await eventually(lambda: not task.done())


@pytest.mark.parametrize("drain", [0, 60])
async def test_a_stop_does_not_wait_for_a_broker_that_went_away(
    settings: Settings, tmp_path: Path, drain: float
) -> None:
    """Nobody could hear of what it has in hand: that is left, a drain or not."""
    async with running_nats(tmp_path / "nats", users=[ANYONE]) as server:
        url = server.urls[ANYONE.name]
        async with (
            _apart(structs.replace(settings, nats_url=url, drain_seconds=drain)) as process,
            fronting(url) as front,
        ):
            await front.nc.publish(subjects.HELLO)
            await front.until(lambda: "gated" in front.offers)
            ids = [await front.submit("gated", gate=str(tmp_path / "never")) for _ in range(2)]
            await front.until(lambda: front.events(ids[0], Started))
            broker = next(child for child in psutil.Process().children() if _listens(child, server.port))
            broker.kill()
            await eventually(lambda: not front.nc.is_connected)
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(3):
                assert await process.wait() == 0


def _listens(process: psutil.Process, port: int) -> bool:
    return any(c.status == psutil.CONN_LISTEN and c.laddr[1] == port for c in process.net_connections())


async def test_a_runners_login_is_enough(settings: Settings, tmp_path: Path) -> None:
    async with (
        running_nats(tmp_path / "nats") as server,
        running(settings, nats_url=server.urls["runner"]),
        fronting(server.urls["gateway"]) as front,
    ):
        await front.nc.publish(subjects.HELLO)
        await front.until(lambda: "crasher" in front.offers)
        id = await front.submit("crasher", times=1, tally=str(tmp_path / "tally"))
        assert text_of(await front.final(id)) == "died 1 times"


@asynccontextmanager
async def _apart(settings: Settings) -> AsyncGenerator[Process]:
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
    """The server is killed, and all it kept is gone: a run in progress is said again from its start."""
    home, gate = tmp_path / "nats", tmp_path / "gate"
    async with running_nats(home, users=[ANYONE]) as server:
        url, port = server.urls[ANYONE.name], server.port
        agent = asyncio.create_task(_agent(settings, url, asyncio.Event()))
        async with fronting(url) as front:
            await front.nc.publish(subjects.HELLO)
            await front.until(lambda: "parts" in front.offers)
            id = await front.submit("parts", parts='["a","b","c"]', gate=str(gate))
            await front.until(lambda: front.events(id, Output) and front.events(id, Started))
    shutil.rmtree(home / "jetstream")
    async with running_nats(home, port=port, users=[ANYONE]), fronting(url) as front:
        await front.until(lambda: "parts" in front.offers)
        gate.touch()
        final = await front.final(id)
        assert isinstance(final, Succeeded)
        said = [json.decode(value) for event in front.events(id, Output) for value in event.values]
        assert [*said, *map(json.decode, final.values)] == ["a", "b", "c"]
        assert text_of(await front.final(await front.submit("hello-world", text="again"))) == "hello again"
        agent.cancel()
        with pytest.raises(asyncio.CancelledError):
            await agent


async def _agent(settings: Settings, url: str, stop: asyncio.Event) -> None:
    async with running(settings, nats_url=url) as task:
        await asyncio.wait([task])
