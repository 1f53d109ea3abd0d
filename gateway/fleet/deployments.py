"""The controller of deployments: it tells runners the releases to run, and promotes a new release once it is warm."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Final

import structlog
from msgspec import json
from nats.aio.msg import Msg

from bus.client import Client
from gateway.broker import Broker, BrokerError
from gateway.errors import Unavailable
from gateway.fleet.registry import FleetRegistry
from gateway.store.deployments import Deployment, DeploymentStore, Release
from schemas import subjects
from schemas.models import Release as RunnerRelease
from schemas.models import Releases

log = structlog.get_logger("samovar.deployments")

RECONCILE_SECONDS: Final = 1.0
REPEAT_SECONDS: Final = 5.0  # runners get the same releases again after this long
DELETE_TRIES: Final = 4
DELETE_PAUSE_SECONDS: Final = 0.2
CACHE_SECONDS: Final = 1.0  # short, as another gateway may change a deployment


class DeploymentController:
    """Publishes the releases that runners are to run, and promotes the newest ones.

    Any number of gateways do this at the same time: each publishes what the database says, and the database decides.
    It also caches deployments for the route that creates predictions, and records when they were last used.
    """

    def __init__(self, client: Client, store: DeploymentStore, broker: Broker, fleet: FleetRegistry) -> None:
        self._client = client
        self._store = store
        self._broker = broker
        self._fleet = fleet
        self._cache: dict[tuple[int, str, str], tuple[float, Deployment]] = {}
        self._used: set[int] = set()
        self._wake = asyncio.Event()
        self._published: list[RunnerRelease] = []
        self._published_at = 0.0
        self._awaited_services: set[str] = set()
        """Services that take over predictions once they are warm."""

    async def find(self, account: int, owner: str, name: str) -> Deployment | None:
        """Return a deployment that a prediction is made by, or None."""
        read_at, deployment = self._cache.get((account, owner, name), (0.0, None))
        if deployment is None or time.monotonic() - read_at >= CACHE_SECONDS:
            deployment = await self._store.get(account, owner, name)
            if deployment is not None:
                self._cache[account, owner, name] = time.monotonic(), deployment
        if deployment is not None:
            self._used.add(deployment.id)
        return deployment

    async def delete(self, id: int) -> bool:
        """Delete a deployment; return False while predictions of it wait or run.

        It tries for a while, as an end that clients know of reaches the database a moment later.
        """
        for _ in range(DELETE_TRIES):
            if await self._store.delete(id):
                self.on_change()
                return True
            await asyncio.sleep(DELETE_PAUSE_SECONDS)
        return False

    def on_change(self) -> None:
        """Look at deployments again and publish them at once, after one was changed."""
        self._cache.clear()
        self._published_at = 0.0
        self._wake.set()

    async def serve(self) -> None:
        """Reconcile until canceled, every second or at once after a change."""
        await self._client.subscribe(subjects.REGISTRATIONS, cb=self._on_registration)
        with self._fleet.listen(self._on_fleet_change):
            while True:
                self._wake.clear()
                try:
                    await self._reconcile()
                except (BrokerError, Unavailable) as error:
                    log.info("deployments_waiting", reason=str(error))
                except Exception:
                    log.exception("deployments_failed")
                with suppress(TimeoutError):
                    async with asyncio.timeout(
                        RECONCILE_SECONDS if self._published else REPEAT_SECONDS
                    ):  # where none are, little is looked for
                        await self._wake.wait()

    async def _reconcile(self) -> None:
        used, self._used = self._used, set()
        if used:
            await self._store.mark_used(sorted(used))
        depths = await self._broker.queue_depths()
        at, deployments = await self._store.list_all()
        if any([await self._promote_if_warm(each) for each in deployments]):
            self._cache.clear()
            at, deployments = await self._store.list_all()
        self._awaited_services = {
            each.newest.service for each in deployments if each.newest.number != each.serving.number
        }
        releases = desired_releases(deployments)
        releases += await self._draining_releases(depths, {each.pool for each in releases})
        self._fleet.releases = {each.pool: each for each in releases}
        now = time.monotonic()
        if releases != self._published or now - self._published_at >= REPEAT_SECONDS:
            await self._broker.broadcast(subjects.RELEASES, json.encode(Releases(at=at, releases=releases)))
            self._published, self._published_at = releases, now

    async def _promote_if_warm(self, deployment: Deployment) -> bool:
        if deployment.newest.number == deployment.serving.number or not self._fleet.is_warm(deployment.newest.service):
            return False
        is_promoted = await self._store.promote_newest(deployment.id, deployment.newest.number)
        if is_promoted:
            log.info("release_promoted", deployment=deployment.full_name, number=deployment.newest.number)
        return is_promoted

    async def _draining_releases(self, depths: Mapping[str, int], known: set[str]) -> list[RunnerRelease]:
        """Return releases that take no new jobs but still have some, also of deleted deployments."""
        queues = {queue for subject in depths if (queue := subjects.queue_of(subject)) and "+" in queue.pool}
        draining = {queue.pool: queue for queue in queues if queue.pool not in known}
        if not draining:
            return []
        last_releases = {release.pool: release for release in await self._store.last_releases(sorted(draining))}
        return [
            RunnerRelease(
                pool=pool,
                model=queue.model,
                version=queue.version,
                hardware=last_releases[pool].hardware if pool in last_releases else "",
                max_instances=max(1, last_releases[pool].max_instances if pool in last_releases else 1),
            )
            for pool, queue in sorted(draining.items())
        ]

    async def _on_registration(self, _: Msg) -> None:
        """Publish the releases again for a runner that has just come."""
        self._published_at = 0.0
        self._wake.set()

    def _on_fleet_change(self) -> None:
        if any(self._fleet.is_warm(service) for service in self._awaited_services):
            self._wake.set()


def desired_releases(deployments: Iterable[Deployment]) -> list[RunnerRelease]:
    """Return the releases that take predictions, and those that will once they are warm.

    Of a release that is not warm yet there is at least one instance.
    """
    releases: list[RunnerRelease] = []
    for each in deployments:
        newest, serving = each.newest, each.serving
        is_awaited = newest.number != serving.number
        releases.append(_as_runner_release(newest, max(newest.min_instances, int(is_awaited)), newest.max_instances))
        if is_awaited:
            releases.append(_as_runner_release(serving, serving.min_instances, max(1, serving.max_instances)))
    return releases


def _as_runner_release(release: Release, min_instances: int, max_instances: int) -> RunnerRelease:
    return RunnerRelease(
        pool=release.pool,
        model=release.model,
        version=release.version,
        hardware=release.hardware,
        min_instances=min_instances,
        max_instances=max_instances,
    )
