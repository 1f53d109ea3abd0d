import asyncio
from pathlib import Path

import pytest
from msgspec import json, structs

from runners.settings import Settings
from schemas import events, subjects
from schemas.events import Canceled, Crashed, Failed, Log, Output, Started, Succeeded
from tests.runners.conftest import FakeGateway, eventually, running_agent, text_of, worker_processes


async def test_a_quick_job_is_one_event(agent: FakeGateway) -> None:
    id = await agent.submit("hello-world", text="you")
    final = await agent.final(id)
    assert isinstance(final, Succeeded)
    assert text_of(final) == "hello you"
    assert not final.many
    assert agent.events_by_id[id] == [final]
    assert final.started_at is not None
    assert final.pulled_at is not None
    assert final.batched_at is not None
    assert final.pulled_at <= final.batched_at <= final.started_at
    assert final.metrics["predict_time"] >= 0
    await eventually(lambda: _is_empty(agent))


async def _is_empty(gateway: FakeGateway) -> bool:
    return await gateway.queued() == 0


async def test_chunks_and_logs_come_in_order_while_it_runs(agent: FakeGateway, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    id = await agent.submit("parts", parts=json.encode(["a", "b", "c"]).decode(), gate=str(gate))
    await agent.wait_until(lambda: agent.events(id, Log) and agent.events(id, Output))
    assert [bytes(value) for event in agent.events(id, Output) for value in event.values] == [b'"a"']
    assert agent.events(id, Started)
    assert not agent.finals(id)
    gate.touch()
    final = await agent.final(id)
    assert final.many
    chunks = {
        event.index + number: json.decode(value)
        for event in agent.events(id, Output)
        for number, value in enumerate(event.values)
    }
    assert [*chunks.values(), *map(json.decode, final.values)] == ["a", "b", "c"]
    assert final.outputs == len(chunks)
    logged = "".join(event.text for event in agent.events(id, Log)) + final.log
    assert logged.startswith("waiting at part 1")
    assert final.logs + len(final.log) == len(logged)


async def test_an_exception_of_a_model_is_an_answer(agent: FakeGateway) -> None:
    id = await agent.submit("parts", parts="[]", fail=True)
    final = await agent.final(id)
    assert isinstance(final, Failed)
    assert final.error == "no more parts"
    assert "ValueError" in final.log


async def test_the_broker_accepts_one_final(agent: FakeGateway, tmp_path: Path) -> None:
    """The agent's comes second here, and the job is acknowledged all the same."""
    id = await agent.submit("gated", gate=str(tmp_path / "gate"))
    await agent.wait_until(lambda: agent.events(id, Started))
    theirs = Canceled(id=id, run=None, at=agent.events(id, Started)[0].at)
    await _publish_final(agent, theirs)
    (tmp_path / "gate").touch()
    await eventually(lambda: _is_empty(agent))
    assert agent.finals(id) == [theirs]


async def _publish_final(gateway: FakeGateway, final: Canceled) -> None:
    await gateway.nc.jetstream().publish(subjects.event(final.id, "final"), events.encode(final))


async def test_an_old_job_that_has_ended_is_acknowledged_without_a_run(agent: FakeGateway, tmp_path: Path) -> None:
    tally = tmp_path / "tally"
    job = agent.job("crasher", times=1, tally=str(tally))
    job = structs.replace(job, created_at=job.created_at.replace(year=2020))
    await _publish_final(agent, Canceled(id=job.id, run=None, at=job.created_at))
    await agent.put(job)
    await agent.wake(job)
    await eventually(lambda: _is_empty(agent))
    assert not tally.exists()


async def test_a_job_past_its_deadline_does_not_start(agent: FakeGateway) -> None:
    job = agent.job("hello-world", text="x")
    await agent.put(structs.replace(job, deadline=job.created_at))
    await agent.wake(job)
    final = await agent.final(job.id)
    assert isinstance(final, Canceled)
    assert final.run is None
    assert final.error == "deadline reached before start"


async def test_a_running_job_that_is_canceled_stops(agent: FakeGateway, tmp_path: Path) -> None:
    id = await agent.submit("gated", gate=str(tmp_path / "never"))
    await agent.wait_until(lambda: agent.events(id, Started))
    pids = [worker.pid for worker in worker_processes()]
    await agent.cancel(id, "by its owner")
    final = await agent.final(id)
    assert isinstance(final, Canceled)
    assert final.error == "by its owner"
    assert "told to stop" in "".join(event.text for event in agent.events(id, Log)) + final.log
    assert [worker.pid for worker in worker_processes()] == pids


async def test_a_job_that_is_canceled_in_the_queue_never_starts(agent: FakeGateway, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    first = await agent.submit("gated", gate=str(gate))
    await agent.wait_until(lambda: agent.events(first, Started))
    second = await agent.submit("gated", gate=str(gate))
    await eventually(lambda: _has_in_hand(agent, 2))
    pids = [worker.pid for worker in worker_processes()]
    await agent.cancel(second)
    final = await agent.final(second)
    assert isinstance(final, Canceled)
    assert final.started_at is None
    gate.touch()
    assert isinstance(await agent.final(first), Succeeded)
    assert [worker.pid for worker in worker_processes()] == pids


async def _has_in_hand(gateway: FakeGateway, jobs: int) -> bool:
    """Return whether agents have that many in hand."""
    consumers = await gateway.nc.jetstream().consumers_info(subjects.JOBS)
    return sum(consumer.num_ack_pending or 0 for consumer in consumers) >= jobs


async def test_a_job_that_does_not_stop_is_killed_and_the_next_runs(agent: FakeGateway, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    stubborn = await agent.submit("gated", gate=str(gate), stubborn=True)
    await agent.wait_until(lambda: agent.events(stubborn, Started))
    other = await agent.submit("gated", gate=str(gate))
    await eventually(lambda: _has_in_hand(agent, 2))
    await agent.cancel(stubborn)
    assert isinstance(await agent.final(stubborn), Canceled)
    await agent.wait_until(lambda: agent.events(other, Started))
    gate.touch()
    assert isinstance(await agent.final(other), Succeeded)
    assert not agent.events(other, Crashed)


async def test_a_killed_worker_runs_its_job_again(agent: FakeGateway, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    id = await agent.submit("parts", parts='["a","b"]', gate=str(gate))
    await agent.wait_until(lambda: agent.events(id, Started) and agent.events(id, Output))
    for worker in worker_processes():
        worker.kill()
    await agent.wait_until(lambda: agent.events(id, Crashed))
    crashed = agent.events(id, Crashed)[0]
    assert "SIGKILL" in crashed.reason
    assert crashed.attempt == 2
    gate.touch()
    final = await agent.final(id)
    assert isinstance(final, Succeeded)
    assert final.run is not None
    assert final.run > crashed.run
    await eventually(lambda: _is_empty(agent))


async def test_three_crashes_fail_a_job(agent: FakeGateway, tmp_path: Path) -> None:
    id = await agent.submit("crasher", times=9, tally=str(tmp_path / "tally"))
    final = await agent.final(id)
    assert isinstance(final, Failed)
    assert "died 3 times" in final.error
    assert "exit code 13" in final.error
    assert len(agent.events(id, Crashed)) == 2
    assert (tmp_path / "tally").read_bytes() == b"xxx"
    await eventually(lambda: _is_empty(agent))


async def test_two_crashes_do_not_fail_a_job(agent: FakeGateway, tmp_path: Path) -> None:
    id = await agent.submit("crasher", times=2, tally=str(tmp_path / "tally"), how="segfault")
    final = await agent.final(id)
    assert isinstance(final, Succeeded)
    assert text_of(final) == "died 2 times"


async def test_a_batch_is_collected_across_jobs(agent: FakeGateway) -> None:
    texts = ["a", "b", "sour", "c", "d", "e", "f", "g"]
    await agent.final(await agent.submit("choir", text="first"))
    ids = [await agent.submit("choir", text=text) for text in texts]
    finals = [await agent.final(id) for id in ids]
    assert [text_of(final) for final in finals if isinstance(final, Succeeded)] == [
        f"{text} in 8" for text in texts if text != "sour"
    ]
    assert [final.error for final in finals if isinstance(final, Failed)] == ["a sour note"]


async def test_output_files_go_to_the_store(agent: FakeGateway, settings: Settings) -> None:
    final = await agent.final(await agent.submit("painter", text="red", count=2))
    assert isinstance(final, Succeeded)
    stored = [Path(settings.files_url.removeprefix("file://"), key) for key in final.files]
    assert [file.read_text() for file in stored] == ["red 0", "red 1"]
    values = [item for value in final.values for item in _listed(json.decode(value))]
    assert values == [f"file:{key}" for key in final.files]


async def test_a_large_output_goes_to_the_store(agent: FakeGateway, settings: Settings) -> None:
    text = json.encode("x" * 700_000).decode()
    final = await agent.final(await agent.submit("values", value=text))
    assert isinstance(final, Succeeded)
    assert [bytes(value) for value in final.values] == [b"null"]
    store = Path(settings.files_url.removeprefix("file://"))
    assert [store.joinpath(key).read_text() for key in final.stored.values()] == [text]
    assert final.files == []


async def test_large_chunks_go_to_the_store_one_by_one(agent: FakeGateway, settings: Settings) -> None:
    id = await agent.submit("bulky", size=300_000, count=20)
    final = await agent.final(id)
    assert isinstance(final, Succeeded)
    output_events = [*agent.events(id, Output), final]
    store = Path(settings.files_url.removeprefix("file://"))
    texts = [
        store.joinpath(event.stored[place]).read_bytes()
        for event in output_events
        for place in range(len(event.values))
    ]
    assert texts == [json.encode(chr(97 + number) * 300_000) for number in range(20)]


async def test_an_output_that_looks_like_a_reference_stays_as_it_is(agent: FakeGateway) -> None:
    value = {"stored": {"0": "in/secret"}, "values": [None], "text": "file:in/secret"}
    final = await agent.final(await agent.submit("values", value=json.encode(value).decode()))
    assert [json.decode(each) for each in final.values] == [value]
    assert (final.stored, final.files) == ({}, [])


@pytest.mark.parametrize(("size", "count"), [(2_000_000, 1), (300_000, 5)])
async def test_an_output_has_a_limit(
    gateway: FakeGateway, nats_url: str, settings: Settings, size: int, count: int
) -> None:
    async with running_agent(settings, nats_url=nats_url, max_output=1_000_000):
        await gateway.wait_until(lambda: "bulky" in gateway.versions)
        final = await gateway.final(await gateway.submit("bulky", size=size, count=count))
    assert isinstance(final, Failed)
    assert "the limit is 1000000 (SAMOVAR_MAX_OUTPUT); return a file instead" in final.error


async def test_an_output_that_cannot_be_stored_fails_with_the_reason(
    gateway: FakeGateway, nats_url: str, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("in the way")
    async with running_agent(settings, nats_url=nats_url, files_url=f"file://{tmp_path}"):
        await gateway.wait_until(lambda: "bulky" in gateway.versions)
        final = await gateway.final(await gateway.submit("bulky", size=300_000))
    assert isinstance(final, Failed)
    assert "cannot store an output of 300002 bytes" in final.error


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


async def test_jobs_of_a_version_that_cannot_be_set_up_fail_with_the_reason(agent: FakeGateway) -> None:
    ids = [await agent.submit("broken", text="x") for _ in range(3)]
    for id in ids:
        final = await agent.final(id)
        assert isinstance(final, Failed)
        assert "the weights are missing" in final.error
    later = await agent.final(await agent.submit("broken", text="x"), within=5)
    assert isinstance(later, Failed)


async def test_waiting_jobs_are_run_without_a_wake(agent: FakeGateway) -> None:
    final = await agent.final(await agent.submit("hello-world", wake=False, text="x"))
    assert isinstance(final, Succeeded)


async def test_events_are_complete_and_in_order_under_load(agent: FakeGateway) -> None:
    """Many at once: each whole, in order, ended once."""
    ids = [await agent.submit("parts", parts=json.encode([str(n) for n in range(50)]).decode()) for _ in range(40)]
    for id in ids:
        await agent.final(id)
        assert len(agent.finals(id)) == 1
        assert _whole(agent, id) == [str(n) for n in range(50)]


def _whole(gateway: FakeGateway, id: str) -> list[str]:
    final = gateway.finals(id)[0]
    chunks: list[str] = []
    for event in gateway.events(id, Output):
        assert event.index == len(chunks)
        chunks += map(json.decode, event.values)
    assert final.outputs == len(chunks)
    return [*chunks, *map(json.decode, final.values)]


async def test_crashes_between_finished_jobs_hold_up_no_others(agent: FakeGateway, tmp_path: Path) -> None:
    """Were they counted on, the eighth would mean a pause of 8 seconds."""
    async with asyncio.timeout(12):
        for number in range(4):
            id = await agent.submit("crasher", times=2, tally=str(tmp_path / f"tally{number}"))
            assert text_of(await agent.final(id)) == "died 2 times"


async def test_a_message_that_is_no_job_takes_no_credit(agent: FakeGateway) -> None:
    """More of it than a worker has credit for."""
    job = agent.job("echo", text="x")
    for text in (b"\xff", b'{"id": "\xff"}', b'{"id": "two words"}', b'{"id": "a.>"}', b"{}", b"[]"):
        await agent.nc.jetstream().publish(subjects.job("default", job.model, job.version), text)
    await agent.put(job)
    await agent.wake(job)
    assert text_of(await agent.final(job.id)) == "x"
    await eventually(lambda: _is_empty(agent))
