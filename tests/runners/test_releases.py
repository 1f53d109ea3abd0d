"""Releases of deployments: who takes them, how many there are, and that each has a queue of its own."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec import json, structs
from nats.aio.client import Client
from nats.aio.msg import Msg

from runners.instances.releases import Served
from runners.placement.devices import hardware
from runners.placement.planner import CPU, CUDA, Device, Host
from runners.settings import Settings
from schemas import subjects
from schemas.models import Presence, Release, Releases, decode_presence
from tests.runners.conftest import Front, eventually, running, text_of

pytestmark = pytest.mark.slow


V = "a" * 64
START = datetime(2026, 1, 5, tzinfo=UTC)


def release(queue: int = 1, **more: Any) -> Release:
    return structs.replace(Release(pool=subjects.release(7, queue), model="acme/echo", version=V), **more)


def told(*releases: Release, second: int = 0) -> Msg:
    said = Releases(at=START + timedelta(seconds=second), releases=list(releases))
    return Msg(_client=Client(), subject=subjects.RELEASES, data=json.encode(said))


async def test_only_what_asks_for_this_hardware_or_for_none_is_served() -> None:
    served = Served("cpu", lambda: None)
    await served.heard(told(release(1, hardware="gpu-t4"), release(2, hardware="cpu"), release(3)))
    assert [each.pool for each in served.fitting().values()] == ["d7+2", "d7+3"]


async def test_what_is_older_than_what_was_heard_is_not_believed() -> None:
    changes: list[None] = []
    served = Served("cpu", lambda: changes.append(None))
    await served.heard(told(release(2), second=5))
    await served.heard(told(release(1), second=4))
    assert list(served.fitting()) == [f"d7+2/{V}"]
    await served.heard(told(second=6))
    assert (served.fitting(), len(changes)) == ({}, 2)


async def test_a_message_that_makes_no_sense_changes_nothing() -> None:
    served = Served("cpu", lambda: None)
    await served.heard(told(release()))
    await served.heard(Msg(_client=Client(), subject=subjects.RELEASES, data=b'{"releases":[]}'))
    assert served.fitting()


@pytest.mark.parametrize(
    ("label", "count", "sku"),
    [
        ("NVIDIA L40S", 1, "gpu-l40s"),
        ("NVIDIA H100 80GB HBM3", 2, "gpu-h100-80gb-hbm3-2x"),
        ("Tesla T4", 1, "gpu-tesla-t4"),
        ("?", 1, "gpu-unknown"),
    ],
)
def test_hardware_is_called_like_its_gpus(label: str, count: int, sku: str) -> None:
    gpus = tuple(Device(name=f"cuda:{n}", kind=CUDA, label=label, memory=1) for n in range(count))
    assert hardware(Host(memory=1, devices=gpus), Settings()) == sku


def test_hardware_without_gpus_is_cpu_unless_it_is_called_otherwise() -> None:
    groups = tuple(Device(name=f"cpu:{n}", kind=CPU, label="EPYC", memory=1) for n in range(2))
    assert hardware(Host(memory=1, devices=groups), Settings()) == "cpu"
    assert hardware(Host(memory=1, devices=groups), Settings(hardware="cpu-large")) == "cpu-large"


class Fleet:
    """Two agents, the second of other hardware if so told, and what they say."""

    def __init__(self, front: Front) -> None:
        self.front = front
        self.said: dict[str, Presence] = {}

    async def heard(self, msg: Msg) -> None:
        presence = decode_presence(msg.data)
        self.said[presence.agent] = presence

    async def tell(self, *releases: Release) -> None:
        said = Releases(at=datetime.now(UTC), releases=list(releases))
        await self.front.nc.publish(subjects.RELEASES, json.encode(said))

    def hot(self, pool: str) -> list[str]:
        """Agents that have an instance for it, once for each."""
        return [
            agent
            for agent, presence in self.said.items()
            for each in presence.residents
            if each.release == pool and each.state == "hot"
        ]

    def of(self, name: str, **more: Any) -> Release:
        version = self.front.offers[name].version
        return structs.replace(release(), model=f"samovar/{name}", version=version, **more)

    async def submit(self, to: Release, **input: Any) -> str:
        job = self.front.job(to.model.partition("/")[2], **input)
        headers = {"Nats-Msg-Id": job.id}
        subject = subjects.job(to.pool, job.model, job.version)
        await self.front.nc.jetstream().publish(subject, json.encode(job), headers=headers)
        return job.id


@pytest.fixture
async def fleet(front: Front, nats_url: str, settings: Settings) -> AsyncGenerator[Fleet]:
    fleet = Fleet(front)
    await front.nc.subscribe(subjects.PRESENCE, cb=fleet.heard)
    async with AsyncExitStack() as stack:
        for agent, sku in (("one", "cpu"), ("two", "cpu-large")):
            await stack.enter_async_context(running(settings, nats_url=nats_url, agent=agent, hardware=sku))
        await eventually(lambda: len(fleet.said) == 2 and "hello-world" in front.offers)
        yield fleet


async def test_a_release_has_its_own_instances_where_its_hardware_is(fleet: Fleet) -> None:
    there = fleet.of("hello-world", hardware="cpu-large")
    await fleet.tell(there)
    await fleet.submit(there, text="Ann")
    await eventually(lambda: fleet.hot(there.pool))
    assert fleet.hot(there.pool) == ["two"]
    # The version itself is cold all the same, and its jobs are nobody's of the release.
    assert all(there.version not in presence.warm for presence in fleet.said.values())
    assert subjects.service(there.pool, there.version) in fleet.said["two"].warm

    nowhere = fleet.of("hello-world", hardware="gpu-t4", pool="d7+9")
    await fleet.tell(there, nowhere)
    id = await fleet.submit(nowhere, text="Bob")
    last = await fleet.submit(there, text="Cleo")
    await fleet.front.final(last)
    assert (fleet.hot("d7+9"), fleet.front.finals(id)) == ([], [])


async def test_as_many_are_kept_as_are_asked_for_and_never_more(fleet: Fleet) -> None:
    two = fleet.of("hello-world", min_instances=2, max_instances=2)
    await fleet.tell(two)
    await eventually(lambda: sorted(fleet.hot(two.pool)) == ["one", "two"])

    one = structs.replace(two, min_instances=1, max_instances=1)
    await fleet.tell(one)
    await eventually(lambda: len(fleet.hot(two.pool)) == 1)
    [stays] = fleet.hot(two.pool)
    finals = [await fleet.front.final(await fleet.submit(one, text=f"{n}")) for n in range(3)]
    assert [final.run.agent for final in finals if final.run] == [stays] * 3

    await fleet.tell()
    await eventually(lambda: fleet.hot(two.pool) == [])


async def test_what_runs_when_a_release_goes_comes_to_its_end(fleet: Fleet, tmp_path: Any) -> None:
    gated, gate = fleet.of("gated", hardware="cpu"), tmp_path / "gate"
    await fleet.tell(gated)
    id = await fleet.submit(gated, gate=str(gate))
    await eventually(lambda: fleet.said["one"].residents and fleet.said["one"].residents[0].running == 1)
    await fleet.tell()
    await eventually(lambda: not fleet.said["one"].warm)
    await asyncio.to_thread(gate.touch)
    assert text_of(await fleet.front.final(id)) == "through"


async def test_a_release_that_cannot_be_set_up_is_said_to_have_failed(fleet: Fleet) -> None:
    broken = fleet.of("broken", min_instances=1)
    await fleet.tell(broken)
    service = subjects.service(broken.pool, broken.version)
    await eventually(lambda: any(service in presence.failed for presence in fleet.said.values()))
