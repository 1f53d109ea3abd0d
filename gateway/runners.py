"""Which runners are there, and what they offer."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import structlog
from msgspec import DecodeError
from nats.aio.client import Client
from nats.aio.msg import Msg

from gateway import metrics
from gateway.broker import Broker
from gateway.catalog import Catalog
from gateway.errors import GatewayError
from schemas import subjects
from schemas.models import Offers, Presence, decode_offers, decode_presence, decode_retired

log = structlog.get_logger("samovar.runners")

HEARD: Final = 8.0  # seconds after which a runner that says nothing is taken for gone


class Runners:
    """Hears presences and offers; asks for offers when somebody has a version that is not known."""

    def __init__(self, client: Client, broker: Broker, catalog: Catalog, clock: Callable[[], float]) -> None:
        self._client = client
        self._broker = broker
        self._catalog = catalog
        self._clock = clock
        self._heard: dict[str, tuple[float, Presence]] = {}
        self._offers: asyncio.Queue[Offers] = asyncio.Queue(1000)

    async def serve(self) -> None:
        """Until it is cancelled."""
        await self._client.subscribe(subjects.PRESENCE, cb=self._present)
        await self._client.subscribe(subjects.OFFERS, cb=self._offered)
        await self._client.subscribe(subjects.RETIRED, cb=self._retired)
        await self._broker.tell(subjects.HELLO)
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

    def warm(self, version: str) -> bool:
        """Whether anybody lately heard of has it warm. If not, a new job should wake somebody."""
        return any(version in presence.warm for presence in self.present())

    def offering(self, version: str) -> str | None:
        """A host whose runner offers it from a folder of its own."""
        return next((presence.host for presence in self.present() if version in presence.versions), None)

    def present(self) -> list[Presence]:
        now = self._clock()
        gone = [agent for agent, (at, _) in self._heard.items() if now - at > HEARD]
        for agent in gone:
            log.warning("runner_gone", agent=agent)
            del self._heard[agent]
        metrics.RUNNERS.set(len(self._heard))
        return [presence for _, presence in self._heard.values()]

    async def _present(self, message: Msg) -> None:
        try:
            presence = decode_presence(message.data)
        except DecodeError as error:
            log.warning("presence_not_read", reason=str(error))
            return
        if presence.agent not in self._heard:
            log.info("runner_there", agent=presence.agent, host=presence.host, versions=len(presence.versions))
        self._heard[presence.agent] = (self._clock(), presence)
        if not all(map(self._catalog.known, presence.versions)):
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
