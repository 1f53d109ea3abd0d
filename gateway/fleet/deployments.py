"""Deployments: which releases runners are told of, and when a new one takes predictions over from the last."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Final

import structlog
from msgspec import json
from nats.aio.msg import Msg

from bus.client import Client
from gateway.broker import Broker, Failed
from gateway.errors import Unavailable
from gateway.fleet.registry import Fleet
from gateway.store.deployments import Deployment, Release
from gateway.store.deployments import Deployments as Rows
from schemas import subjects
from schemas.models import Release as Told
from schemas.models import Releases

log = structlog.get_logger("samovar.deployments")

EVERY: Final = 1.0  # seconds between two looks
AGAIN: Final = 5.0  # seconds after which runners are told the same again
TRIES: Final = 4  # at deleting
PAUSE: Final = 0.2  # seconds between them
FRESH: Final = 1.0  # seconds for which a deployment is not looked up again: another gateway may have changed it


class Deployments:
    """Any number of gateways do this at the same time: each tells what the record says, and the record decides."""

    def __init__(self, client: Client, rows: Rows, broker: Broker, fleet: Fleet) -> None:
        self._client = client
        self._rows = rows
        self._broker = broker
        self._fleet = fleet
        self._known: dict[tuple[int, str, str], tuple[float, Deployment]] = {}
        self._used: set[int] = set()
        self._look = asyncio.Event()
        self._told: list[Told] = []
        self._told_at = 0.0
        self._waiting: set[str] = set()
        """Services that take predictions over once they are warm."""

    async def find(self, account: int, owner: str, name: str) -> Deployment | None:
        """For a prediction."""
        at, found = self._known.get((account, owner, name), (0.0, None))
        if found is None or time.monotonic() - at >= FRESH:
            found = await self._rows.get(account, owner, name)
            if found is not None:
                self._known[account, owner, name] = time.monotonic(), found
        if found is not None:
            self._used.add(found.id)
        return found

    async def delete(self, id: int) -> bool:
        """False: predictions of it wait or run. An end that clients know of is in the record a moment later."""
        for _ in range(TRIES):
            if await self._rows.delete(id):
                self.changed()
                return True
            await asyncio.sleep(PAUSE)
        return False

    def changed(self) -> None:
        """Something is not as it was: look, and tell."""
        self._known.clear()
        self._told_at = 0.0
        self._look.set()

    async def serve(self) -> None:
        """Until it is cancelled."""
        await self._client.subscribe(subjects.OFFERS, cb=self._introduced)
        with self._fleet.listen(self._stirred):
            while True:
                self._look.clear()
                try:
                    await self._attend()
                except (Failed, Unavailable) as error:
                    log.info("deployments_wait", reason=str(error))
                except Exception:
                    log.exception("deployments_failed")
                with suppress(TimeoutError):
                    async with asyncio.timeout(EVERY if self._told else AGAIN):  # where none are, little is looked for
                        await self._look.wait()

    async def _attend(self) -> None:
        used, self._used = self._used, set()
        if used:
            await self._rows.note_used(sorted(used))
        depths = await self._broker.depths()
        at, deployments = await self._rows.active()
        if any([await self._switched(each) for each in deployments]):
            self._known.clear()
            at, deployments = await self._rows.active()
        self._waiting = {each.newest.service for each in deployments if each.newest.number != each.serving.number}
        releases = wanted(deployments)
        releases += await self._left(depths, {each.pool for each in releases})
        self._fleet.served = {each.pool: each for each in releases}
        now = time.monotonic()
        if releases != self._told or now - self._told_at >= AGAIN:
            await self._broker.tell(subjects.RELEASES, json.encode(Releases(at=at, releases=releases)))
            self._told, self._told_at = releases, now

    async def _switched(self, each: Deployment) -> bool:
        if each.newest.number == each.serving.number or not self._fleet.warm(each.newest.service):
            return False
        switched = await self._rows.take_over(each.id, each.newest.number)
        if switched:
            log.info("release_serves", deployment=each.full_name, number=each.newest.number)
        return switched

    async def _left(self, depths: Mapping[str, int], known: set[str]) -> list[Told]:
        """Releases that take nothing new, as long as they have jobs; also those of deployments that are gone."""
        queues = {queue for subject in depths if (queue := subjects.queue_of(subject)) and "+" in queue.pool}
        left = {queue.pool: queue for queue in queues if queue.pool not in known}
        if not left:
            return []
        found = {release.pool: release for release in await self._rows.of_pools(sorted(left))}
        return [
            Told(
                pool=pool,
                model=queue.model,
                version=queue.version,
                hardware=found[pool].hardware if pool in found else "",
                max_instances=max(1, found[pool].max_instances if pool in found else 1),
            )
            for pool, queue in sorted(left.items())
        ]

    async def _introduced(self, _: Msg) -> None:
        """A runner that has just come knows of no release."""
        self._told_at = 0.0
        self._look.set()

    def _stirred(self) -> None:
        if any(self._fleet.warm(service) for service in self._waiting):
            self._look.set()


def wanted(deployments: Iterable[Deployment]) -> list[Told]:
    """What takes predictions, and what will once it is warm: of that there is one instance in any case."""
    told: list[Told] = []
    for each in deployments:
        newest, serving = each.newest, each.serving
        waits = newest.number != serving.number
        told.append(_told(newest, least=max(newest.min_instances, int(waits)), most=newest.max_instances))
        if waits:
            told.append(_told(serving, least=serving.min_instances, most=max(1, serving.max_instances)))
    return told


def _told(release: Release, *, least: int, most: int) -> Told:
    return Told(
        pool=release.pool,
        model=release.model,
        version=release.version,
        hardware=release.hardware,
        min_instances=least,
        max_instances=most,
    )
