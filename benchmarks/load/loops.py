"""When requests are sent: by clients that wait for their answers, or at their time whether answered or not."""

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import cycle, pairwise
from time import perf_counter
from typing import Final

from benchmarks.load.alarm import Alarm
from benchmarks.load.clients import Client
from benchmarks.load.protocols import PROTOCOLS, Heard, Prepared, Wrong
from benchmarks.load.schedule import arrivals
from benchmarks.samples import Plan, Sample

LAST: Final = 60.0  # seconds that the last answers may take
PAUSE: Final = 0.1  # seconds before a client asks again that could not reach the server


class Load:
    """One plan's clients, kept from one repeat to the next, and what they have seen in the one that runs."""

    def __init__(self, plan: Plan, requests: list[Prepared], new: Callable[[], Client]) -> None:
        self.plan = plan
        self.samples: list[Sample] = []
        self._ask = PROTOCOLS[plan.protocol]
        self._turns = cycle(requests)
        self._new = new
        self._clients: list[Client] = []
        self._zero = 0.0

    async def run(self, seconds: float, seed: int) -> float:
        """Seconds that it took until the last answer; `samples` has them all then."""
        self.samples = []
        self._zero = perf_counter()
        try:
            async with asyncio.timeout(seconds + LAST):
                await (self._closed(seconds) if self.plan.arrivals == "closed" else self._open(seconds, seed))
        except TimeoutError:
            pass  # what was not answered is a sample that says so
        return perf_counter() - self._zero

    def close(self) -> None:
        for client in self._clients:
            client.close()

    async def _closed(self, seconds: float) -> None:
        """Each client asks again as soon as it is answered."""
        until = self._zero + seconds

        async def go(client: Client) -> None:
            while (at := perf_counter()) < until:
                if not await self._one(client, next(self._turns), at):
                    await asyncio.sleep(PAUSE)

        while len(self._clients) < self.plan.clients:
            self._clients.append(self._new())
        async with asyncio.TaskGroup() as group:
            for client in self._clients:
                group.create_task(go(client))

    async def _open(self, seconds: float, seed: int) -> None:
        """At its time each request gets a client: one that is free, or a new one; the latest is warm still."""
        free, waiting = list(self._clients), deque[tuple[Prepared, float]]()

        async def go(client: Client, request: Prepared, at: float) -> None:
            await self._one(client, request, at)
            while waiting:
                await self._one(client, *waiting.popleft())
            free.append(client)

        try:
            async with asyncio.TaskGroup() as group:
                with Alarm.set_up() as alarm:
                    for offset in arrivals(self.plan.arrivals, self.plan.rate, seconds, seed):
                        await alarm.at(self._zero + offset)
                        if client := free.pop() if free else self._another():
                            group.create_task(go(client, next(self._turns), self._zero + offset))
                        else:
                            waiting.append((next(self._turns), self._zero + offset))
        finally:
            for request, at in waiting:
                self._wrong(request, at, "no answer: every connection was taken")

    def _another(self) -> Client | None:
        if len(self._clients) == self.plan.clients:
            return None
        self._clients.append(client := self._new())
        return client

    async def _one(self, client: Client, request: Prepared, at: float) -> bool:
        """Whether the server could be reached."""
        try:
            heard = await self._ask(client, request)
        except Wrong as error:
            self._wrong(request, at, str(error))
        except OSError as error:
            client.close()
            self._wrong(request, at, error.strerror or str(error))
            return False
        except asyncio.CancelledError:
            client.close()
            self._wrong(request, at, f"no answer in {LAST:.0f} s")
            raise
        else:
            self._right(request, at, heard)
        return True

    def _right(self, request: Prepared, at: float, heard: Heard) -> None:
        begun = at if heard.begun is None else heard.begun
        events = [round((event - at) * 1e6) for event in heard.events]
        self.samples.append(
            Sample(
                at=round((at - self._zero) * 1e6),
                latency=round((heard.end - begun) * 1e6),
                first=events[0] if events else None,
                gaps=[later - one for one, later in pairwise(events)],
                request=request.which,
            )
        )

    def _wrong(self, request: Prepared, at: float, why: str) -> None:
        since, took = round((at - self._zero) * 1e6), round((perf_counter() - at) * 1e6)
        self.samples.append(Sample(at=since, latency=took, request=request.which, error=why))
