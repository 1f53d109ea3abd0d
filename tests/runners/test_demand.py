"""Who is wanted is read off subjects that anybody may have written."""

from collections.abc import Mapping
from typing import Any

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from runners.instances.autoscaler import Demand
from schemas import subjects
from schemas.models import Release

VERSION = "a" * 64
RELEASE = Release(pool="d7+1", model="acme/echo", version=VERSION)
SERVICE = subjects.service(RELEASE.pool, VERSION)


class Scene:
    """All that looks after queues, and writes down what is wanted."""

    def __init__(self, releases: Mapping[str, Release]) -> None:
        self.depths: dict[str, int] = {}
        self.wanted: list[str] = []
        self.here: set[str] = set()
        anything: Any = self
        self.demand = Demand(anything, anything, anything, anything, "default", lambda: releases)

    async def waiting(self, pool: str) -> dict[str, int]:
        return {each: count for each, count in self.depths.items() if pool == "*" or each.startswith(f"jobs.{pool}.")}

    async def taken(self) -> set[str]:
        return set()

    def want(self, service: str) -> None:
        self.wanted.append(service)

    async def wake(self, pool: str, version: str) -> None:
        await self.demand.woken(Msg(_client=Client(), subject=subjects.wake(pool, version)))


@pytest.mark.parametrize(
    "subject", ["jobs.default.stray", "jobs", "jobs.d8+1.owner=2fx.v1.0", "jobs.gpu.owner=2fx.v.0"]
)
async def test_a_subject_that_names_nothing_of_ours_wants_nobody(subject: str) -> None:
    scene = Scene({SERVICE: RELEASE})
    scene.depths[subject] = 1
    await scene.demand._want()
    assert scene.wanted == []


async def test_a_release_of_ours_is_wanted_apart_from_its_version() -> None:
    scene = Scene({SERVICE: RELEASE})
    scene.depths = {subjects.job("d7+1", "acme/echo", VERSION): 1, subjects.job("default", "acme/echo", VERSION): 1}
    await scene.demand._want()
    assert sorted(scene.wanted) == [VERSION, SERVICE]


async def test_a_wake_is_for_those_who_may_serve_what_it_names() -> None:
    scene = Scene({SERVICE: RELEASE})
    await scene.wake("gpu", VERSION)
    await scene.wake("d8+1", VERSION)
    assert scene.wanted == []
    await scene.wake("d7+1", VERSION)
    await scene.wake("default", VERSION)
    assert scene.wanted == [SERVICE, VERSION]
