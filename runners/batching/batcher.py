"""The batcher: it sends calls to a worker, one at a time or in batches, in the order in which they came."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from runners.batching.batch_key import BatchKeys
from runners.batching.call import Call, StopRequest, WorkerDeath, done_without_worker
from runners.batching.queue import CallQueue
from runners.worker.frames import (
    BatchLimit,
    Chunk,
    Done,
    FromWorker,
    Health,
    Item,
    ItemsStarted,
    LoadFailed,
    LogText,
    MemoryPeak,
    Parked,
    Ready,
)

QUICK_RUN_SECONDS: Final = 0.02  # runs that take less are sent further ahead
AHEAD_SECONDS: Final = 0.04  # of quick work that may wait in the worker
MAX_ITEMS_AHEAD: Final = 64
PACE_SMOOTHING: Final = 0.1  # weight of the latest run in the moving average
STOP_RETRY_SECONDS: Final = 0.5  # between two requests to stop
MAX_UNREAD_BYTES: Final = 4_000_000  # of output and log that nobody has taken yet; with more the worker has to wait


class Worker(Protocol):
    """The part of a worker process that a batcher uses."""

    def run(self, items: list[Item]) -> None: ...
    def stop(self, ids: list[str]) -> None: ...
    def kill(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...


class Batcher:
    """Sends the calls of an instance to its worker, and the worker's frames to the calls.

    It owns the queue of calls and those in the worker, and outlives workers: a call that one did not start goes to the
    next. It computes `credit`, by which the job queue asks for jobs. `on_batch_limit` is called with the size of the
    largest batch that fits into memory, once a larger one has not. This bounds the batches of this worker; whoever
    attaches the next one remembers it. `on_out_of_memory` is called when a run got no memory, and returns whether there
    will be another worker.
    """

    def __init__(
        self,
        *,
        grace: float,
        on_batch_limit: Callable[[int], None] = lambda _: None,
        on_out_of_memory: Callable[[], bool] = lambda: False,
    ) -> None:
        self._grace = grace
        self._on_batch_limit = on_batch_limit
        self._on_out_of_memory = on_out_of_memory
        self._queue = CallQueue()
        self._sent: dict[str, Call] = {}
        self._batches: deque[set[str]] = deque()
        self._worker: Worker | None = None
        self._size = 1
        self._window = 0.0
        self._slots = 1
        """The number of calls that the worker runs at once. With more than one there are no batches."""
        self._is_exclusive = False
        """Whether the call in the worker has to be alone there."""
        self._failure: tuple[str, str] | None = None
        self._credit_factor = 1
        """More where calls have different batch keys, so that there are enough for full batches."""
        self._oldest: Call | None = None
        self._is_window_over = False
        """Whether the oldest call has waited for others as long as it may."""
        self._timer: asyncio.TimerHandle | None = None
        self._is_resting = False
        self._pace = QUICK_RUN_SECONDS
        self._depth = 2
        """The number of batches that may be in the worker: the one that runs, and those that are ready."""
        self.credit = 2
        """The number of jobs to have in hand: those that run, and those ready to; more only while runs are quick."""
        self._empty_waiter: asyncio.Future[None] | None = None
        self.last_done_at = time.monotonic()
        """When a call was last done, by the monotonic clock."""

    @property
    def is_idle(self) -> bool:
        """Whether there is no call, neither in the queue nor in the worker."""
        return not self._queue and not self._sent

    @property
    def is_quiet(self) -> bool:
        """Whether no call runs, as far as the worker has reported."""
        return all(call.started_at is None for call in self._sent.values())

    def estimate_seconds(self, jobs: int) -> float:
        """Estimate how long so many jobs take, from the latest runs."""
        return jobs * self._pace / max(self._size, self._slots)

    def stop_sending(self) -> None:
        """Send no more calls to this worker; those that it has may end."""
        self._is_resting = True

    def attach(
        self, worker: Worker, *, size: int, window: float, slots: int = 1, batch_by: Mapping[str, bytes] | None = None
    ) -> None:
        """Send calls to this worker from now on. `batch_by` are the inputs that have to be equal within a batch."""
        self._worker, self._slots, self._is_resting = worker, max(1, slots), False
        self._size, self._window = (max(1, size), window) if self._slots == 1 else (1, 0.0)
        self._queue.set_batch_keys(BatchKeys(batch_by or {}))
        self._credit_factor = 2 if batch_by else 1
        self._oldest = None
        self._update_pace(self._pace)
        self._send_ready()

    def detach(self, death: WorkerDeath) -> None:
        """Finish the calls that a worker had started when it died; the others wait for the next worker."""
        self._worker = None
        sent, self._sent = self._sent, {}
        first_batch: set[str] = self._batches[0] if self._batches else set()
        self._batches.clear()
        # A worker may die before it has reported what it started: then it was the first batch.
        is_unreported = not death.by_agent and not any(call.started_at is not None for call in sent.values())
        unstarted: list[Call] = []
        for call in sent.values():
            if call.stop_request is not None:
                call.finish(done_without_worker(call, time.time()))
            elif call.started_at is not None or (is_unreported and call.id in first_batch):
                call.finish(death)
            else:
                unstarted.append(call)
        self._queue.put_back(unstarted)

    def put(self, call: Call) -> None:
        """Queue a call, and send it if it can run."""
        self._queue.append(call)
        self._send_ready()
        if self._failure is not None:
            self.fail_all(*self._failure)

    def abandon(self, call: Call) -> None:
        """Stop a call whose outcome nobody waits for any more."""
        call.is_abandoned = True
        self.stop(call, StopRequest(None))

    def stop(self, call: Call, request: StopRequest) -> None:
        """Stop a call: it leaves the queue, or its worker is asked to stop it and killed if it does not."""
        if call.outcome is not None or call.stop_request is not None:
            return
        call.stop_request = request
        if call.id not in self._sent:
            if call in self._queue:
                self._queue.remove([call])
            call.finish(done_without_worker(call, time.time()))
        elif self._worker is not None:
            self._request_stop(call, self._worker)
            asyncio.get_running_loop().call_later(self._grace, self._kill_if_running, call, self._worker)

    def replace_worker(self) -> bool:
        """Ask for another worker, as this one has no memory left. Returns False if a new one would have no more."""
        return self._is_resting or self._on_out_of_memory()

    def resume(self) -> None:
        """Let a paused worker go on: its output and log have been taken."""
        if self._worker is not None:
            self._worker.resume()

    def stop_all(self) -> None:
        """Ask the worker to stop all of its calls."""
        if self._worker is not None and self._sent:
            self._worker.stop(list(self._sent))

    def fail_all(self, reason: str, text: str) -> None:
        """Fail the calls in the queue and all later ones: there will be no next worker."""
        self._failure = (reason, text)
        waiting = list(self._queue)
        self._queue.remove(waiting)
        for call in waiting:
            call.log_pieces.append(text)
            call.finish(done_without_worker(call, time.time(), status="failed", error=reason))

    async def wait_until_empty(self) -> None:
        """Wait until nothing is in the worker."""
        while self._sent:
            self._empty_waiter = asyncio.get_running_loop().create_future()
            await self._empty_waiter

    def is_in_worker(self, id: str) -> bool:
        """Return whether the call of this job has been sent to the worker, and is not done."""
        return id in self._sent

    def on_frame(self, frame: FromWorker) -> None:
        """Pass a frame from the worker on to its calls."""
        match frame:
            case ItemsStarted(ids=ids, at=at):
                for call in self._calls(ids):
                    call.start(at, len(ids))
            case Chunk(id=id):
                for call in self._calls([id]):
                    call.add_chunk(frame)
                    self._pause_if_unread(call)
            case LogText(ids=ids, text=text):
                for call in self._calls(ids):
                    call.add_log(text)
                    self._pause_if_unread(call)
            case Done(id=id):
                self._on_done(id, frame)
            case BatchLimit(size=size):
                self._limit_batch_size(size)
            case Ready() | LoadFailed() | Health() | Parked() | MemoryPeak():
                pass

    def _limit_batch_size(self, size: int) -> None:
        """Send no batch that is larger than what fits into memory."""
        self._size = max(1, min(self._size, size))
        self._update_pace(self._pace)
        self._on_batch_limit(size)
        self._send_ready()

    def _pause_if_unread(self, call: Call) -> None:
        if call.unread_size > MAX_UNREAD_BYTES and self._worker is not None:
            self._worker.pause()

    def _on_done(self, id: str, done: Done) -> None:
        call = self._sent.pop(id, None)
        if call is None:
            return
        if call.started_at is not None:
            self._update_pace(max(done.at - call.started_at, 0))
        call.finish(done)
        for batch in self._batches:
            if id in batch:
                batch.discard(id)
                if not batch:
                    self._batches.remove(batch)
                break
        self.last_done_at = time.monotonic()
        self._send_ready()
        if not self._sent and self._empty_waiter is not None and not self._empty_waiter.done():
            self._empty_waiter.set_result(None)

    def _send_ready(self) -> None:
        while self._worker is not None and (calls := self._next_calls()):
            self._queue.remove(calls)
            now = time.time()
            for call in calls:
                call.sent_at = now
                self._sent[call.id] = call
            self._is_exclusive = calls[0].runs_alone
            self._batches.append({call.id for call in calls})
            self._worker.run([call.item for call in calls])

    def _next_calls(self) -> list[Call]:
        """Return the calls to send now, if there are any."""
        if self._is_resting:
            return []
        self._watch_oldest()
        if self._oldest is None:
            return []
        if self._sent and (self._is_exclusive or self._oldest.runs_alone):
            # A dying worker may lose its last frames: which call killed it is certain only if it had no other.
            return []
        if self._size == 1:
            return [self._oldest] if len(self._sent) < self.credit else []
        if len(self._batches) >= self._depth:
            return []
        calls, is_complete = self._queue.next_batch(self._size, can_wait=not self._is_window_over)
        # While another batch runs, an incomplete one had better wait for more calls.
        return calls if is_complete or (self._is_window_over and not self._batches) else []

    def _watch_oldest(self) -> None:
        """Start the window of a call that has become the oldest."""
        if self._oldest is self._queue.oldest:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._oldest = self._queue.oldest
        if self._oldest is not None:
            loop = asyncio.get_running_loop()
            remaining = self._oldest.queued_at + self._window - loop.time()
            self._is_window_over = remaining <= 0
            if not self._is_window_over:
                self._timer = loop.call_later(remaining, self._on_window_end)

    def _on_window_end(self) -> None:
        # Do not compare clocks here: uvloop's timers fire up to a millisecond early, and only once.
        self._is_window_over = True
        self._send_ready()

    def _update_pace(self, seconds: float) -> None:
        """Compute how far ahead to send, after a run that took so many seconds."""
        self._pace += PACE_SMOOTHING * (seconds - self._pace)
        is_quick = self._pace < QUICK_RUN_SECONDS
        self._depth = 2
        if is_quick:
            self._depth = max(2, min(MAX_ITEMS_AHEAD, int(AHEAD_SECONDS / max(self._pace, 1e-6))))
        self.credit = max(2 * self._size * self._credit_factor, min(MAX_ITEMS_AHEAD, self._depth * self._size))
        if self._slots > 1:
            self.credit = max(self._slots + 1, min(MAX_ITEMS_AHEAD, self._depth)) if is_quick else self._slots

    def _calls(self, ids: list[str]) -> list[Call]:
        return [self._sent[id] for id in ids if id in self._sent]

    def _request_stop(self, call: Call, worker: Worker) -> None:
        """Ask the worker to stop a call, again and again: the signal may arrive before the frame that it announces."""
        if call.outcome is None and worker is self._worker:
            worker.stop([call.id])
            asyncio.get_running_loop().call_later(STOP_RETRY_SECONDS, self._request_stop, call, worker)

    def _kill_if_running(self, call: Call, worker: Worker) -> None:
        if call.outcome is None and worker is self._worker:
            worker.kill()
