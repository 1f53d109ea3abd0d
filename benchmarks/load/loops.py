"""Closed and open loops: clients that wait for their answers, or requests at their time whether answered or not."""

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import cycle, pairwise
from time import perf_counter
from typing import Final

from benchmarks.load.alarm import Alarm
from benchmarks.load.clients import Client
from benchmarks.load.protocols import PROTOCOLS, AnswerTimes, PreparedRequest, WrongAnswer
from benchmarks.load.schedule import arrivals
from benchmarks.samples import Plan, Sample

LAST_ANSWER_SECONDS: Final = 60.0  # seconds that the last answers may take
RECONNECT_SECONDS: Final = 0.1  # seconds before a client that could not reach the server tries again


class Load:
    """One plan's clients, and the samples of the current repeat.

    The clients stay from one repeat to the next, with their connections.
    """

    def __init__(self, plan: Plan, requests: list[PreparedRequest], create_client: Callable[[], Client]) -> None:
        self.plan = plan
        self.samples: list[Sample] = []
        self._request = PROTOCOLS[plan.protocol]
        self._requests = cycle(requests)
        self._create_client = create_client
        self._clients: list[Client] = []
        self._started_at = 0.0

    async def run(self, seconds: float, seed: int) -> float:
        """Send requests for so many seconds, and return the seconds until the last answer.

        `samples` is complete then.
        """
        self.samples = []
        self._started_at = perf_counter()
        try:
            async with asyncio.timeout(seconds + LAST_ANSWER_SECONDS):
                await (
                    self._run_closed_loop(seconds)
                    if self.plan.arrivals == "closed"
                    else self._run_open_loop(seconds, seed)
                )
        except TimeoutError:
            pass  # requests without an answer have a sample that says so
        return perf_counter() - self._started_at

    def close(self) -> None:
        """Close all clients."""
        for client in self._clients:
            client.close()

    async def _run_closed_loop(self, seconds: float) -> None:
        """Let each client send its next request as soon as it is answered."""
        until = self._started_at + seconds

        async def send(client: Client) -> None:
            while (at := perf_counter()) < until:
                if not await self._send(client, next(self._requests), at):
                    await asyncio.sleep(RECONNECT_SECONDS)

        while len(self._clients) < self.plan.clients:
            self._clients.append(self._create_client())
        async with asyncio.TaskGroup() as group:
            for client in self._clients:
                group.create_task(send(client))

    async def _run_open_loop(self, seconds: float, seed: int) -> None:
        """Send each request at its time, by a free client or a new one; the latest freed one is warm still."""
        free, waiting = list(self._clients), deque[tuple[PreparedRequest, float]]()

        async def send(client: Client, request: PreparedRequest, at: float) -> None:
            await self._send(client, request, at)
            while waiting:
                await self._send(client, *waiting.popleft())
            free.append(client)

        try:
            async with asyncio.TaskGroup() as group:
                with Alarm.set_up() as alarm:
                    for offset in arrivals(self.plan.arrivals, self.plan.rate, seconds, seed):
                        await alarm.wait_until(self._started_at + offset)
                        if client := free.pop() if free else self._extra_client():
                            group.create_task(send(client, next(self._requests), self._started_at + offset))
                        else:
                            waiting.append((next(self._requests), self._started_at + offset))
        finally:
            for request, at in waiting:
                self._record_error(request, at, "no answer: every connection was taken")

    def _extra_client(self) -> Client | None:
        if len(self._clients) == self.plan.clients:
            return None
        self._clients.append(client := self._create_client())
        return client

    async def _send(self, client: Client, request: PreparedRequest, at: float) -> bool:
        """Send a request and record its sample; return whether the server could be reached."""
        try:
            times = await self._request(client, request)
        except WrongAnswer as error:
            self._record_error(request, at, str(error))
        except OSError as error:
            client.close()
            self._record_error(request, at, error.strerror or str(error))
            return False
        except asyncio.CancelledError:
            client.close()
            self._record_error(request, at, f"no answer in {LAST_ANSWER_SECONDS:.0f} s")
            raise
        else:
            self._record_answer(request, at, times)
        return True

    def _record_answer(self, request: PreparedRequest, at: float, times: AnswerTimes) -> None:
        start = at if times.begun is None else times.begun
        events = [round((event - at) * 1e6) for event in times.events]
        self.samples.append(
            Sample(
                at=round((at - self._started_at) * 1e6),
                latency=round((times.end - start) * 1e6),
                first=events[0] if events else None,
                gaps=[later - one for one, later in pairwise(events)],
                request=request.number,
            )
        )

    def _record_error(self, request: PreparedRequest, at: float, reason: str) -> None:
        since, latency = round((at - self._started_at) * 1e6), round((perf_counter() - at) * 1e6)
        self.samples.append(Sample(at=since, latency=latency, request=request.number, error=reason))
