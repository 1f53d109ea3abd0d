"""Releases of deployments: which hosts serve them, how many instances they have, and their own queues."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec import json, structs
from nats.aio.client import Client
from nats.aio.msg import Msg

from runners.instances.releases import DeployedReleases
from runners.placement.devices import hardware_name
from runners.placement.planner import CPU, CUDA, Device, Host
from runners.settings import Settings
from schemas import subjects
from schemas.models import Heartbeat, Release, Releases, decode_heartbeat
from tests.runners.conftest import FakeGateway, eventually, running_agent, text_of

pytestmark = pytest.mark.slow


V = "a" * 64
START = datetime(2026, 1, 5, tzinfo=UTC)


def release(queue: int = 1, **more: Any) -> Release:
    return structs.replace(Release(pool=subjects.release(7, queue), model="acme/echo", version=V), **more)


def message(*releases: Release, second: int = 0) -> Msg:
    content = Releases(at=START + timedelta(seconds=second), releases=list(releases))
    return Msg(_client=Client(), subject=subjects.RELEASES, data=json.encode(content))


async def test_only_releases_for_this_hardware_or_for_any_are_served() -> None:
    deployed = DeployedReleases("cpu")
    deployed.update(message(release(1, hardware="gpu-t4"), release(2, hardware="cpu"), release(3)))
    assert [each.pool for each in deployed.by_service().values()] == ["d7+2", "d7+3"]


async def test_a_list_older_than_the_last_one_is_ignored() -> None:
    deployed = DeployedReleases("cpu")
    changes = [deployed.update(message(release(2), second=5)), deployed.update(message(release(1), second=4))]
    assert list(deployed.by_service()) == [f"d7+2/{V}"]
    changes.append(deployed.update(message(second=6)))
    assert (deployed.by_service(), changes) == ({}, [True, False, True])


async def test_an_invalid_message_changes_nothing() -> None:
    deployed = DeployedReleases("cpu")
    deployed.update(message(release()))
    assert not deployed.update(Msg(_client=Client(), subject=subjects.RELEASES, data=b'{"releases":[]}'))
    assert deployed.by_service()


@pytest.mark.parametrize(
    ("label", "count", "sku"),
    [
        ("NVIDIA L40S", 1, "gpu-l40s"),
        ("NVIDIA H100 80GB HBM3", 2, "gpu-h100-80gb-hbm3-2x"),
        ("Tesla T4", 1, "gpu-tesla-t4"),
        ("?", 1, "gpu-unknown"),
    ],
)
def test_hardware_is_named_after_its_gpus(label: str, count: int, sku: str) -> None:
    gpus = tuple(Device(name=f"cuda:{n}", kind=CUDA, label=label, memory=1) for n in range(count))
    assert hardware_name(Host(memory=1, devices=gpus), Settings()) == sku


def test_hardware_without_gpus_is_cpu_unless_a_setting_names_it() -> None:
    groups = tuple(Device(name=f"cpu:{n}", kind=CPU, label="EPYC", memory=1) for n in range(2))
    assert hardware_name(Host(memory=1, devices=groups), Settings()) == "cpu"
    assert hardware_name(Host(memory=1, devices=groups), Settings(hardware="cpu-large")) == "cpu-large"


class Fleet:
    """Two agents, the second with other hardware, and their heartbeats."""

    def __init__(self, gateway: FakeGateway) -> None:
        self.gateway = gateway
        self.heartbeats: dict[str, Heartbeat] = {}

    async def receive(self, msg: Msg) -> None:
        heartbeat = decode_heartbeat(msg.data)
        self.heartbeats[heartbeat.agent] = heartbeat

    async def publish(self, *releases: Release) -> None:
        content = Releases(at=datetime.now(UTC), releases=list(releases))
        await self.gateway.nc.publish(subjects.RELEASES, json.encode(content))

    def hot(self, pool: str) -> list[str]:
        """Agents that have an instance for it, once for each."""
        return [
            agent
            for agent, heartbeat in self.heartbeats.items()
            for each in heartbeat.residents
            if each.release == pool and each.state == "hot"
        ]

    def of(self, name: str, **more: Any) -> Release:
        version = self.gateway.versions[name].version
        return structs.replace(release(), model=f"samovar/{name}", version=version, **more)

    async def submit(self, to: Release, **input: Any) -> str:
        job = self.gateway.job(to.model.partition("/")[2], **input)
        headers = {"Nats-Msg-Id": job.id}
        subject = subjects.job(to.pool, job.model, job.version)
        await self.gateway.nc.jetstream().publish(subject, json.encode(job), headers=headers)
        return job.id


@pytest.fixture
async def fleet(gateway: FakeGateway, nats_url: str, settings: Settings) -> AsyncGenerator[Fleet]:
    fleet = Fleet(gateway)
    await gateway.nc.subscribe(subjects.HEARTBEATS, cb=fleet.receive)
    async with AsyncExitStack() as stack:
        for agent, sku in (("one", "cpu"), ("two", "cpu-large")):
            await stack.enter_async_context(running_agent(settings, nats_url=nats_url, agent=agent, hardware=sku))
        await eventually(lambda: len(fleet.heartbeats) == 2 and "hello-world" in gateway.versions)
        yield fleet


async def test_a_release_has_its_own_instances_on_its_hardware(fleet: Fleet) -> None:
    there = fleet.of("hello-world", hardware="cpu-large")
    await fleet.publish(there)
    await fleet.submit(there, text="Ann")
    await eventually(lambda: fleet.hot(there.pool))
    assert fleet.hot(there.pool) == ["two"]
    # The version itself is cold all the same, and its jobs are nobody's of the release.
    assert all(there.version not in heartbeat.warm for heartbeat in fleet.heartbeats.values())
    assert subjects.service(there.pool, there.version) in fleet.heartbeats["two"].warm

    nowhere = fleet.of("hello-world", hardware="gpu-t4", pool="d7+9")
    await fleet.publish(there, nowhere)
    id = await fleet.submit(nowhere, text="Bob")
    last = await fleet.submit(there, text="Cleo")
    await fleet.gateway.final(last)
    assert (fleet.hot("d7+9"), fleet.gateway.finals(id)) == ([], [])


async def test_a_release_has_its_number_of_instances_and_never_more(fleet: Fleet) -> None:
    two = fleet.of("hello-world", min_instances=2, max_instances=2)
    await fleet.publish(two)
    await eventually(lambda: sorted(fleet.hot(two.pool)) == ["one", "two"])

    one = structs.replace(two, min_instances=1, max_instances=1)
    await fleet.publish(one)
    await eventually(lambda: len(fleet.hot(two.pool)) == 1)
    [stays] = fleet.hot(two.pool)
    finals = [await fleet.gateway.final(await fleet.submit(one, text=f"{n}")) for n in range(3)]
    assert [final.run.agent for final in finals if final.run] == [stays] * 3

    await fleet.publish()
    await eventually(lambda: fleet.hot(two.pool) == [])


async def test_running_jobs_finish_when_a_release_goes(fleet: Fleet, tmp_path: Any) -> None:
    gated, gate = fleet.of("gated", hardware="cpu"), tmp_path / "gate"
    await fleet.publish(gated)
    id = await fleet.submit(gated, gate=str(gate))
    await eventually(lambda: fleet.heartbeats["one"].residents and fleet.heartbeats["one"].residents[0].running == 1)
    await fleet.publish()
    await eventually(lambda: not fleet.heartbeats["one"].warm)
    await asyncio.to_thread(gate.touch)
    assert text_of(await fleet.gateway.final(id)) == "through"


async def test_a_release_that_cannot_be_set_up_is_reported_as_failed(fleet: Fleet) -> None:
    broken = fleet.of("broken", min_instances=1)
    await fleet.publish(broken)
    service = subjects.service(broken.pool, broken.version)
    await eventually(lambda: any(service in heartbeat.failed for heartbeat in fleet.heartbeats.values()))
