"""Calls on their way into a worker: one at a time or in batches, in the order in which they came."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from runners.batching.batch_key import Groups
from runners.batching.call import Call, Death, Wish, unrun
from runners.batching.queue import Line
from runners.worker.frames import Began, Broken, Chunk, Done, Fits, FromWorker, Health, Item, Parked, Ready, Said, Took

QUICK: Final = 0.02  # seconds; runs that take less are sent further ahead
AHEAD: Final = 0.04  # seconds of quick work that may wait in the worker
MOST: Final = 64  # items
SMOOTH: Final = 0.1
REMIND: Final = 0.5  # seconds between two requests to stop
MUCH: Final = 4_000_000  # bytes of chunks and of text that were not passed on yet: the worker has to wait


class Worker(Protocol):
    def run(self, items: list[Item]) -> None: ...
    def stop(self, ids: list[str]) -> None: ...
    def kill(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...


class Batcher:
    """Outlives the workers that it feeds: what one did not begin, the next one gets.

    `on_fits` is told the size of the largest batch that fits into memory, once a larger one has not. It bounds this
    worker's batches from then on; whoever attaches the next one remembers it. `on_short` is asked for another worker
    when a run got no memory.
    """

    def __init__(
        self,
        *,
        grace: float,
        on_fits: Callable[[int], None] = lambda _: None,
        on_short: Callable[[], bool] = lambda: False,
    ) -> None:
        self._grace = grace
        self._on_fits = on_fits
        self._on_short = on_short
        self._line = Line()
        self._sent: dict[str, Call] = {}
        self._frames: deque[set[str]] = deque()
        self._worker: Worker | None = None
        self._size = 1
        self._window = 0.0
        self._slots = 1
        """How many runs are under way in the worker at once; more than one are never batches."""
        self._exclusive = False
        """What is in the worker is to be alone there."""
        self._failure: tuple[str, str] | None = None
        self._spread = 1
        """How many batches' worth of jobs to hold for each: more where they part into groups."""
        self._oldest: Call | None = None
        self._due = False
        """The oldest has waited for company as long as it may."""
        self._timer: asyncio.TimerHandle | None = None
        self._resting = False
        self._pace = QUICK
        self._depth = 2
        """Frames that may be in the worker: the one that runs, and the ones ready."""
        self.credit = 2
        """How many jobs to hold: what runs and what is ready to; more only while they are quick."""
        self._emptied: asyncio.Future[None] | None = None
        self.done_at = time.monotonic()
        """When it last had something to do."""

    @property
    def idle(self) -> bool:
        return not self._line and not self._sent

    @property
    def quiet(self) -> bool:
        """Nothing runs, as far as we have heard."""
        return all(call.began is None for call in self._sent.values())

    def seconds(self, jobs: int) -> float:
        """How long so many take, at the pace of late."""
        return jobs * self._pace / max(self._size, self._slots)

    def rest(self) -> None:
        """Send no more to this worker; what it has may come to its end."""
        self._resting = True

    def attach(
        self, worker: Worker, *, size: int, window: float, slots: int = 1, batch_by: Mapping[str, bytes] | None = None
    ) -> None:
        """`batch_by`: the inputs that have to be equal within a batch, as `Ready` has them."""
        self._worker, self._slots, self._resting = worker, max(1, slots), False
        self._size, self._window = (max(1, size), window) if self._slots == 1 else (1, 0.0)
        self._line.regroup(Groups(batch_by or {}))
        self._spread = 2 if batch_by else 1
        self._oldest = None
        self._reckon(self._pace)
        self._pump()

    def detach(self, death: Death) -> None:
        """The worker is gone: who had begun hears of it, the others wait for the next."""
        self._worker = None
        sent, self._sent = self._sent, {}
        heads: set[str] = self._frames[0] if self._frames else set()
        self._frames.clear()
        # A worker may die before it has said what it began: then it was the first in line.
        guess = not death.ours and not any(call.began is not None for call in sent.values())
        unbegun: list[Call] = []
        for call in sent.values():
            if call.wish is not None:
                call.finish(unrun(call, time.time()))
            elif call.began is not None or (guess and call.id in heads):
                call.finish(death)
            else:
                unbegun.append(call)
        self._line.rejoin(unbegun)

    def put(self, call: Call) -> None:
        self._line.join(call)
        self._pump()
        if self._failure is not None:
            self.fail_all(*self._failure)

    def leave(self, call: Call) -> None:
        """Nobody listens to it any more: not begun, it never starts; in the worker, it is stopped."""
        call.left = True
        self.stop(call, Wish(None))

    def stop(self, call: Call, wish: Wish) -> None:
        """Not begun: it never starts. In the worker: asked to stop, and killed if it does not."""
        if call.end is not None or call.wish is not None:
            return
        call.wish = wish
        if call.id not in self._sent:
            if call in self._line:
                self._line.leave([call])
            call.finish(unrun(call, time.time()))
        elif self._worker is not None:
            self._ask(call, self._worker)
            asyncio.get_running_loop().call_later(self._grace, self._force, call, self._worker)

    def renew(self) -> bool:
        """Have another worker, as this one gives no memory any more. False: it is as good as a new one."""
        return self._resting or self._on_short()

    def relieve(self) -> None:
        """What a talkative worker said has been passed on: it may say more."""
        if self._worker is not None:
            self._worker.resume()

    def stop_all(self) -> None:
        if self._worker is not None and self._sent:
            self._worker.stop(list(self._sent))

    def fail_all(self, reason: str, text: str) -> None:
        """There will be no next worker, neither for who waits nor for who comes."""
        self._failure = (reason, text)
        waiting = list(self._line)
        self._line.leave(waiting)
        for call in waiting:
            call.text.append(text)
            call.finish(unrun(call, time.time(), status="failed", error=reason))

    async def empty(self) -> None:
        """Wait until nothing is in the worker."""
        while self._sent:
            self._emptied = asyncio.get_running_loop().create_future()
            await self._emptied

    def sent(self, id: str) -> bool:
        return id in self._sent

    def heard(self, frame: FromWorker) -> None:
        match frame:
            case Began(ids=ids, at=at):
                for call in self._calls(ids):
                    call.begin(at, len(ids))
            case Chunk(id=id):
                for call in self._calls([id]):
                    call.chunk(frame)
                    self._slow_down(call)
            case Said(ids=ids, text=text):
                for call in self._calls(ids):
                    call.say(text)
                    self._slow_down(call)
            case Done(id=id):
                self._done(id, frame)
            case Fits(size=size):
                self._bound(size)
            case Ready() | Broken() | Health() | Parked() | Took():
                pass

    def _bound(self, size: int) -> None:
        """No batch may be larger than what fits."""
        self._size = max(1, min(self._size, size))
        self._reckon(self._pace)
        self._on_fits(size)
        self._pump()

    def _slow_down(self, call: Call) -> None:
        if call.unread > MUCH and self._worker is not None:
            self._worker.pause()

    def _done(self, id: str, done: Done) -> None:
        call = self._sent.pop(id, None)
        if call is None:
            return
        if call.began is not None:
            self._reckon(max(done.at - call.began, 0))
        call.finish(done)
        for frame in self._frames:
            if id in frame:
                frame.discard(id)
                if not frame:
                    self._frames.remove(frame)
                break
        self.done_at = time.monotonic()
        self._pump()
        if not self._sent and self._emptied is not None and not self._emptied.done():
            self._emptied.set_result(None)

    def _pump(self) -> None:
        while self._worker is not None and (calls := self._next()):
            self._line.leave(calls)
            now = time.time()
            for call in calls:
                call.sent = now
                self._sent[call.id] = call
            self._exclusive = calls[0].alone
            self._frames.append({call.id for call in calls})
            self._worker.run([call.item for call in calls])

    def _next(self) -> list[Call]:
        """Who is sent now, if anybody is."""
        if self._resting:
            return []
        self._look_at_the_oldest()
        if self._oldest is None:
            return []
        if self._sent and (self._exclusive or self._oldest.alone):
            # What a worker said last may be lost when it dies: only then is it certain of whom it died.
            return []
        if self._size == 1:
            return [self._oldest] if len(self._sent) < self.credit else []
        if len(self._frames) >= self._depth:
            return []
        calls, whole = self._line.company(self._size, patient=not self._due)
        # A batch that is not whole is better off waiting for company while another runs.
        return calls if whole or (self._due and not self._frames) else []

    def _look_at_the_oldest(self) -> None:
        """Its window is over, or a timer is set."""
        if self._oldest is self._line.oldest:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._oldest = self._line.oldest
        if self._oldest is not None:
            loop = asyncio.get_running_loop()
            left = self._oldest.came + self._window - loop.time()
            self._due = left <= 0
            if not self._due:
                self._timer = loop.call_later(left, self._ring)

    def _ring(self) -> None:
        # Not by the clock: uvloop's timers ring up to a millisecond early by it, and do not ring again.
        self._due = True
        self._pump()

    def _reckon(self, seconds: float) -> None:
        """How far ahead to send, after a run that took so long."""
        self._pace += SMOOTH * (seconds - self._pace)
        self._depth = 2 if self._pace >= QUICK else max(2, min(MOST, int(AHEAD / max(self._pace, 1e-6))))
        self.credit = max(2 * self._size * self._spread, min(MOST, self._depth * self._size))
        if self._slots > 1:
            quick = self._pace < QUICK
            self.credit = max(self._slots + 1, min(MOST, self._depth)) if quick else self._slots

    def _calls(self, ids: list[str]) -> list[Call]:
        return [self._sent[id] for id in ids if id in self._sent]

    def _ask(self, call: Call, worker: Worker) -> None:
        """Again and again: a signal may come before the words that it stands for."""
        if call.end is None and worker is self._worker:
            worker.stop([call.id])
            asyncio.get_running_loop().call_later(REMIND, self._ask, call, worker)

    def _force(self, call: Call, worker: Worker) -> None:
        if call.end is None and worker is self._worker:
            worker.kill()
