"""The autoscaler reads services off subjects that anybody may have written."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from runners.instances.autoscaler import Autoscaler
from schemas import subjects
from schemas.models import Release

VERSION = "a" * 64
RELEASE = Release(pool="d7+1", model="acme/echo", version=VERSION)
SERVICE = subjects.service(RELEASE.pool, VERSION)


class Scene:
    """Everything that an autoscaler needs, in one fake that records the requested services."""

    def __init__(self, releases: Mapping[str, Release]) -> None:
        self.depths: dict[str, int] = {}
        self.requested: list[str] = []
        self.services: set[str] = set()
        anything: Any = self
        self.autoscaler = Autoscaler(
            anything, anything, anything, anything, "default", lambda: releases, asyncio.Event()
        )

    async def count_jobs(self, pool: str) -> dict[str, int]:
        return {each: count for each, count in self.depths.items() if pool == "*" or each.startswith(f"jobs.{pool}.")}

    async def leased_services(self) -> set[str]:
        return set()

    def request(self, service: str) -> None:
        self.requested.append(service)

    async def wake(self, pool: str, version: str) -> None:
        await self.autoscaler.receive_wake(Msg(_client=Client(), subject=subjects.wake(pool, version)))


@pytest.mark.parametrize(
    "subject", ["jobs.default.stray", "jobs", "jobs.d8+1.owner=2fx.v1.0", "jobs.gpu.owner=2fx.v.0"]
)
async def test_a_subject_that_names_nothing_of_ours_requests_nothing(subject: str) -> None:
    scene = Scene({SERVICE: RELEASE})
    scene.depths[subject] = 1
    await scene.autoscaler.request_waiting()
    assert scene.requested == []


async def test_a_release_is_requested_apart_from_its_version() -> None:
    scene = Scene({SERVICE: RELEASE})
    scene.depths = {subjects.job("d7+1", "acme/echo", VERSION): 1, subjects.job("default", "acme/echo", VERSION): 1}
    await scene.autoscaler.request_waiting()
    assert sorted(scene.requested) == [VERSION, SERVICE]


async def test_a_wake_requests_only_what_this_host_may_serve() -> None:
    scene = Scene({SERVICE: RELEASE})
    await scene.wake("gpu", VERSION)
    await scene.wake("d8+1", VERSION)
    assert scene.requested == []
    await scene.wake("d7+1", VERSION)
    await scene.wake("default", VERSION)
    assert scene.requested == [SERVICE, VERSION]
