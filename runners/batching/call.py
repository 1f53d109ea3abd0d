"""A call to a model for one job, and what its worker reports of it."""

import asyncio
from collections.abc import Hashable
from typing import Final

from msgspec import Struct

from runners.worker.frames import Chunk, Done, Item

LASTING_SECONDS: Final = 0.005  # after which it is worth telling that a run has started
LOG_INTERVAL_SECONDS: Final = 0.05
TIMER_TOLERANCE_SECONDS: Final = 0.002  # a timer may fire that much too early


class StopRequest(Struct, frozen=True):
    """A request to stop a call."""

    reason: str | None
    as_failed: bool = False
    """Whether the prediction ends as failed, rather than as canceled."""


class WorkerDeath(Struct, frozen=True):
    """The end of a worker that was running the call."""

    reason: str
    by_agent: bool
    """Whether the agent killed it, because of another job."""


class Call:
    """A call to a model: the batcher writes what the worker reports of it, and the job's run reads it.

    The reader awaits `wait_for_change`, and then takes chunks and log until there is an `outcome`.
    """

    __slots__ = (
        "_has_changed",
        "_log_at",
        "_log_timer",
        "_loop",
        "_timer",
        "_waiter",
        "batch_key",
        "batch_size",
        "chunks",
        "is_abandoned",
        "is_lasting",
        "item",
        "log_pieces",
        "outcome",
        "queued_at",
        "runs_alone",
        "sent_at",
        "started_at",
        "stop_request",
        "unread_size",
    )

    def __init__(self, item: Item, *, runs_alone: bool = False) -> None:
        self.item = item
        self.runs_alone = runs_alone
        """Whether it shares no batch, as it may be what kills workers."""
        self.batch_key: Hashable = None
        """Calls share a batch only if their keys are equal."""
        self.stop_request: StopRequest | None = None
        self.sent_at: float | None = None
        """Unix time at which its batch was sent to the worker."""
        self.started_at: float | None = None
        """Unix time at which user code was entered."""
        self.batch_size = 1
        """The number of calls that started together, itself included."""
        self.is_lasting = False
        """Whether it has run for `LASTING_SECONDS`."""
        self.chunks: list[Chunk] = []
        self.unread_size = 0
        """Bytes in `chunks`, and characters in `log_pieces`."""
        self.is_abandoned = False
        """Whether nobody reads it any more."""
        self.log_pieces: list[str] = []
        self.outcome: Done | WorkerDeath | None = None
        self._loop = asyncio.get_running_loop()
        self.queued_at = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._log_timer: asyncio.TimerHandle | None = None
        self._log_at = 0.0
        self._has_changed = False
        self._waiter: asyncio.Future[None] | None = None

    @property
    def id(self) -> str:
        """The id of the prediction."""
        return self.item.id

    async def wait_for_change(self) -> None:
        """Return once something has changed since the last call."""
        if not self._has_changed:
            self._waiter = self._loop.create_future()
            await self._waiter
        self._has_changed = False

    def start(self, at: float, batch_size: int = 1) -> None:
        """Note that the worker has entered user code."""
        self.started_at, self.batch_size = at, batch_size
        self._timer = self._loop.call_later(LASTING_SECONDS, self._mark_lasting)

    def add_chunk(self, frame: Chunk) -> None:
        """Add a chunk of output."""
        if self.is_abandoned:
            return
        self.chunks.append(frame)
        self.unread_size += len(frame.value)
        self._notify()

    def add_log(self, text: str) -> None:
        """Add a piece of log. The reader gets it once the run lasts: a quick run has it in its final event."""
        if self.is_abandoned:
            return
        self.log_pieces.append(text)
        if self.started_at is not None:
            # Before that nobody takes it.
            self.unread_size += len(text)
        if self.is_lasting and self._log_timer is None:
            self._log_timer = self._loop.call_at(max(self._log_at, self._loop.time()), self._notify)

    def finish(self, outcome: Done | WorkerDeath) -> None:
        """Note how the call has ended."""
        self.outcome = outcome
        for timer in (self._timer, self._log_timer):
            if timer is not None:
                timer.cancel()
        self._notify()

    @property
    def is_log_due(self) -> bool:
        """Whether the log is to be published now."""
        return self.is_lasting and self._loop.time() >= self._log_at - TIMER_TOLERANCE_SECONDS

    def take_chunks(self) -> list[Chunk]:
        """Return the chunks since the last call."""
        chunks, self.chunks = self.chunks, []
        self.unread_size = sum(map(len, self.log_pieces))
        return chunks

    def take_log(self) -> str:
        """Return the log since the last call. The next log is due `LOG_INTERVAL_SECONDS` later."""
        text, self.log_pieces = "".join(self.log_pieces), []
        self.unread_size = max(0, self.unread_size - len(text))
        self._log_at = self._loop.time() + LOG_INTERVAL_SECONDS
        if self._log_timer is not None:
            self._log_timer.cancel()
            self._log_timer = None
        return text

    def _mark_lasting(self) -> None:
        self.is_lasting = True
        self._notify()

    def _notify(self) -> None:
        self._has_changed = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def done_without_worker(call: Call, at: float, *, status: str = "stopped", error: str | None = None) -> Done:
    """Make the answer for a call that no worker got, or whose worker died while it was to stop."""
    return Done(id=call.id, at=at, status=status, many=False, value=None, files=[], error=error, metrics={})
