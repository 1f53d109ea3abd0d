"""The listener to runners' heartbeats and registrations."""

import asyncio
from contextlib import suppress
from typing import Never

import structlog
from msgspec import DecodeError
from nats.aio.msg import Msg

from bus.client import Client
from gateway.broker import Broker
from gateway.catalog.catalog import Catalog
from gateway.errors import GatewayError
from gateway.fleet.registry import FleetRegistry
from schemas import subjects
from schemas.models import Registration, decode_heartbeat, decode_registration, decode_retired_versions

log = structlog.get_logger("samovar.runners")


class RunnerListener:
    """Receives heartbeats and registrations of runners.

    It asks runners to register again when one has a version that is not known.
    """

    def __init__(self, client: Client, broker: Broker, catalog: Catalog, fleet: FleetRegistry) -> None:
        self._client = client
        self._broker = broker
        self._catalog = catalog
        self._fleet = fleet
        self._registrations: asyncio.Queue[Registration] = asyncio.Queue(1000)

    async def serve(self) -> None:
        """Listen until canceled."""
        await self._client.subscribe(subjects.HEARTBEATS, cb=self._on_heartbeat)
        await self._client.subscribe(subjects.REGISTRATIONS, cb=self._on_registration)
        await self._client.subscribe(subjects.RETIRED, cb=self._on_retired)
        await self._broker.broadcast(subjects.HELLO)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._register_versions())
            group.create_task(self._sweep_fleet())

    async def _register_versions(self) -> Never:
        while True:
            registration = await self._registrations.get()
            for version in registration.offers:
                if self._catalog.is_known(version.version):
                    continue
                try:
                    await self._catalog.register(version)
                    log.info(
                        "version_registered",
                        model=f"{version.owner}/{version.name}",
                        version=version.version,
                        agent=registration.agent,
                    )
                except GatewayError as error:
                    log.warning("version_not_registered", model=f"{version.owner}/{version.name}", reason=str(error))
                except Exception:
                    log.exception(
                        "registration_failed", model=f"{version.owner}/{version.name}", agent=registration.agent
                    )

    async def _sweep_fleet(self) -> Never:
        """Sweep the fleet whenever a runner may have gone silent, so that those who wait for one learn of it."""
        while True:
            seconds = self._fleet.sweep()
            await asyncio.sleep(seconds + 0.01)

    async def _on_heartbeat(self, message: Msg) -> None:
        try:
            heartbeat = decode_heartbeat(message.data)
        except DecodeError as error:
            log.warning("heartbeat_unreadable", reason=str(error))
            return
        versions = self._fleet.record_heartbeat(heartbeat)
        if versions is None or not all(map(self._catalog.is_known, versions)):
            await self._broker.broadcast(subjects.HELLO)

    async def _on_retired(self, message: Msg) -> None:
        try:
            self._catalog.forget(decode_retired_versions(message.data).versions)
        except DecodeError as error:
            log.warning("retired_versions_unreadable", reason=str(error))

    async def _on_registration(self, message: Msg) -> None:
        try:
            registration = decode_registration(message.data)
        except DecodeError as error:
            log.warning("registration_unreadable", reason=str(error))
            return
        with suppress(asyncio.QueueFull):
            self._registrations.put_nowait(registration)
