"""What runners say of themselves: that they are there, and what they offer."""

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
from gateway.fleet.registry import Fleet
from schemas import subjects
from schemas.models import Offers, decode_offers, decode_presence, decode_retired

log = structlog.get_logger("samovar.runners")


class Runners:
    """Hears presences and offers; asks for offers when somebody has a version that is not known."""

    def __init__(self, client: Client, broker: Broker, catalog: Catalog, fleet: Fleet) -> None:
        self._client = client
        self._broker = broker
        self._catalog = catalog
        self._fleet = fleet
        self._offers: asyncio.Queue[Offers] = asyncio.Queue(1000)

    async def serve(self) -> None:
        """Until it is cancelled."""
        await self._client.subscribe(subjects.PRESENCE, cb=self._present)
        await self._client.subscribe(subjects.OFFERS, cb=self._offered)
        await self._client.subscribe(subjects.RETIRED, cb=self._retired)
        await self._broker.tell(subjects.HELLO)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._take_offers())
            group.create_task(self._notice_silence())

    async def _take_offers(self) -> Never:
        while True:
            offers = await self._offers.get()
            for offer in offers.offers:
                if self._catalog.known(offer.version):
                    continue
                try:
                    await self._catalog.offered(offer)
                    log.info("offered", model=f"{offer.owner}/{offer.name}", version=offer.version, agent=offers.agent)
                except GatewayError as error:
                    log.warning("offer_not_taken", model=f"{offer.owner}/{offer.name}", reason=str(error))
                except Exception:
                    log.exception("offer_refused", model=f"{offer.owner}/{offer.name}", agent=offers.agent)

    async def _notice_silence(self) -> Never:
        """So that those who wait for a runner hear of it when the last one is gone, which nobody says."""
        while True:
            left = self._fleet.sweep()
            await asyncio.sleep(left + 0.01)

    async def _present(self, message: Msg) -> None:
        try:
            presence = decode_presence(message.data)
        except DecodeError as error:
            log.warning("presence_not_read", reason=str(error))
            return
        versions = self._fleet.hear(presence)
        if versions is None or not all(map(self._catalog.known, versions)):
            await self._broker.tell(subjects.HELLO)

    async def _retired(self, message: Msg) -> None:
        try:
            self._catalog.forget(decode_retired(message.data).versions)
        except DecodeError as error:
            log.warning("retired_not_read", reason=str(error))

    async def _offered(self, message: Msg) -> None:
        try:
            offers = decode_offers(message.data)
        except DecodeError as error:
            log.warning("offers_not_read", reason=str(error))
            return
        with suppress(asyncio.QueueFull):
            self._offers.put_nowait(offers)
