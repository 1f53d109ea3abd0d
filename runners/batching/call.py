"""One job's passage through a worker, as its life hears of it."""

import asyncio
from collections.abc import Hashable
from typing import Final

from msgspec import Struct

from runners.worker.frames import Chunk, Done, Item

LASTING: Final = 0.005  # seconds after which a run is worth saying that it has started
BETWEEN_LOGS: Final = 0.05
TICK: Final = 0.002  # a timer may ring that much too early


class Wish(Struct, frozen=True):
    """That a run stops."""

    reason: str | None
    failed: bool = False
    """It ends as failed, and not as canceled."""


class Death(Struct, frozen=True):
    """How a worker ended while this was running in it."""

    reason: str
    ours: bool
    """We killed it for the sake of another job."""


class Call:
    """Written by the worker's side, read by the job's life; `news` joins them."""

    __slots__ = (
        "_log_at",
        "_log_timer",
        "_loop",
        "_stirred",
        "_timer",
        "_waiter",
        "alone",
        "began",
        "came",
        "chunks",
        "end",
        "group",
        "item",
        "lasting",
        "left",
        "sent",
        "text",
        "together",
        "unread",
        "wish",
    )

    def __init__(self, item: Item, *, alone: bool = False) -> None:
        self.item = item
        self.alone = alone
        """It shares no batch: it may be what kills workers."""
        self.group: Hashable = None
        """It shares batches with its like only."""
        self.wish: Wish | None = None
        self.sent: float | None = None
        """When it went to the worker, with its batch."""
        self.began: float | None = None
        self.together = 1
        """How many began with it, itself included."""
        self.lasting = False
        self.chunks: list[Chunk] = []
        self.unread = 0
        """Bytes in `chunks`, and characters in `text`."""
        self.left = False
        """Nobody reads it any more."""
        self.text: list[str] = []
        self.end: Done | Death | None = None
        self._loop = asyncio.get_running_loop()
        self.came = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._log_timer: asyncio.TimerHandle | None = None
        self._log_at = 0.0
        self._stirred = False
        self._waiter: asyncio.Future[None] | None = None

    @property
    def id(self) -> str:
        return self.item.id

    async def news(self) -> None:
        """Return when something has happened since the last time."""
        if not self._stirred:
            self._waiter = self._loop.create_future()
            await self._waiter
        self._stirred = False

    def begin(self, at: float, together: int = 1) -> None:
        self.began, self.together = at, together
        self._timer = self._loop.call_later(LASTING, self._last)

    def chunk(self, frame: Chunk) -> None:
        if self.left:
            return
        self.chunks.append(frame)
        self.unread += len(frame.value)
        self._wake()

    def say(self, text: str) -> None:
        """Text waits for the run to last: a quick one carries it in its final event."""
        if self.left:
            return
        self.text.append(text)
        if self.began is not None:
            # Before that nobody takes it away.
            self.unread += len(text)
        if self.lasting and self._log_timer is None:
            self._log_timer = self._loop.call_at(max(self._log_at, self._loop.time()), self._wake)

    def finish(self, end: Done | Death) -> None:
        self.end = end
        for timer in (self._timer, self._log_timer):
            if timer is not None:
                timer.cancel()
        self._wake()

    @property
    def log_due(self) -> bool:
        return self.lasting and self._loop.time() >= self._log_at - TICK

    def take_chunks(self) -> list[Chunk]:
        taken, self.chunks = self.chunks, []
        self.unread = sum(map(len, self.text))
        return taken

    def take_text(self) -> str:
        """What was printed since; the next is due a little later."""
        taken, self.text = "".join(self.text), []
        self.unread = max(0, self.unread - len(taken))
        self._log_at = self._loop.time() + BETWEEN_LOGS
        if self._log_timer is not None:
            self._log_timer.cancel()
            self._log_timer = None
        return taken

    def _last(self) -> None:
        self.lasting = True
        self._wake()

    def _wake(self) -> None:
        self._stirred = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def unrun(call: Call, at: float, *, status: str = "stopped", error: str | None = None) -> Done:
    """What a worker would answer for a call that it never got, or that it died of being told to stop."""
    return Done(id=call.id, at=at, status=status, many=False, value=None, files=[], error=error, metrics={})
