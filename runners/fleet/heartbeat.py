"""What an agent says of itself: what it offers, and that it is there."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

import structlog
from msgspec import json, structs
from nats.aio.msg import Msg

from runners.errors import NoAnswer
from schemas import subjects
from schemas.models import Offer, Offers, Presence

log = structlog.stdlib.get_logger()

EVERY: Final = 2.0  # seconds
OFFERS_PIECE: Final = subjects.MAX_MESSAGE - 10_000


class Wire(Protocol):
    async def publish(
        self, subject: str, payload: bytes = b"", reply: str = "", headers: dict[str, str] | None = None
    ) -> None: ...
    @property
    def up(self) -> bool: ...


class Herald:
    def __init__(
        self, link: Wire, offers: list[Offer], present: Callable[[], Presence], changed: asyncio.Event, *, agent: str
    ) -> None:
        self._link = link
        self._offers = offers
        self._present_state = present
        self._changed = changed
        """Set when `present` has something new to say."""
        self._agent = agent
        self._edition = ""
        """Of the versions that were said last; they are not said again unless somebody asks: they may be many."""

    async def introduce(self) -> None:
        """Offers, in as many messages as they need, then presence."""
        for piece in pieces(self._offers):
            await self._say(subjects.OFFERS, json.encode(Offers(agent=self._agent, offers=piece)))
        self._edition = ""
        await self._present()

    async def greeted(self, msg: Msg) -> None:
        await self.introduce()

    async def pinged(self, msg: Msg) -> None:
        if msg.reply:
            await self._say(msg.reply, self._agent.encode())

    async def keep_saying(self) -> None:
        """Every now and then, and at once when what is warm has changed."""
        while True:
            self._changed.clear()
            if self._link.up:
                await self._present()
            with suppress(TimeoutError):
                async with asyncio.timeout(EVERY):
                    await self._changed.wait()

    async def _present(self) -> None:
        presence = self._present_state()
        if presence.edition == self._edition:
            presence = structs.replace(presence, versions=[])
        self._edition = presence.edition
        await self._say(subjects.PRESENCE, json.encode(presence))

    async def _say(self, subject: str, payload: bytes) -> None:
        try:
            await self._link.publish(subject, payload)
        except NoAnswer as error:
            log.debug("not heard", subject=subject, reason=str(error))


def pieces(offers: list[Offer]) -> list[list[Offer]]:
    """Offers in groups that fit into a message; an offer that fits into none is told of and left out."""
    groups: list[list[Offer]] = [[]]
    size = 0
    for offer in offers:
        length = len(json.encode(offer)) + 1
        if length > OFFERS_PIECE:
            log.error("the schema of this model is larger than a message", model=f"{offer.owner}/{offer.name}")
            continue
        if size + length > OFFERS_PIECE and groups[-1]:
            groups.append([])
            size = 0
        groups[-1].append(offer)
        size += length
    return groups
