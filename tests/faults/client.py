"""A client of a campaign: it creates one prediction after another, whatever breaks, and logs all responses."""

import asyncio
import random
import time
from collections import Counter
from typing import Any

import httpx

from tests import sse
from tests.faults.checker import FINAL
from tests.faults.history import (
    CreateAccepted,
    CreateRefused,
    CreateSent,
    CreateUnanswered,
    EventReceived,
    HistoryLog,
    PredictionRead,
    StreamOpened,
)

PAUSE_SECONDS = (0.05, 0.4)  # seconds between an error and the next attempt, or between two reads


class CreateFailed(Exception):
    """A create was refused, or got no response."""


class CampaignClient:
    def __init__(
        self, name: str, http: httpx.AsyncClient, log: HistoryLog, rng: random.Random, tally: Counter[str]
    ) -> None:
        self._name = name
        self._http = http
        self._log = log
        self._rng = rng
        self._tally = tally
        self._calls = 0
        self._last: str | None = None

    async def predict(self, model: str, input: dict[str, Any], how: str) -> str:
        """Create a prediction, follow it to its final state, and return the status. Raises `CreateFailed`."""
        prediction = await self._create(model, input, how)
        if how == "stream" and "stream" in prediction["urls"]:
            await self._follow(prediction["id"], prediction["urls"]["stream"])
        status = await self._read_until_final(prediction["id"], prediction["status"], how)
        self._tally[f"{how} {model} {status}"] += 1
        return status

    async def pause(self) -> None:
        await asyncio.sleep(self._rng.uniform(*PAUSE_SECONDS))

    async def _create(self, model: str, input: dict[str, Any], how: str) -> dict[str, Any]:
        self._calls += 1
        call, sent_at = f"{self._name}/{self._calls}", time.monotonic()
        self._log.append(CreateSent(client=self._name, at=sent_at, call=call, model=model, input=input, how=how))
        headers = {"Prefer": "wait"} if how == "sync" else {}
        try:
            answer = await self._http.post(f"/v1/models/{model}/predictions", json={"input": input}, headers=headers)
        except httpx.TransportError as error:
            sent = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
            self._log.append(
                CreateUnanswered(client=self._name, at=time.monotonic(), call=call, reason=repr(error), sent=sent)
            )
            self._tally["create: no answer" if sent else "create: no connection"] += 1
            raise CreateFailed from error
        if not answer.is_success:
            self._append_refusal(call, answer)
            raise CreateFailed
        prediction = answer.json()
        self._log.append(CreateAccepted(client=self._name, at=time.monotonic(), call=call, id=prediction["id"]))
        self._append_read(prediction, sent_at)
        return prediction

    def _append_refusal(self, call: str, answer: httpx.Response) -> None:
        now, detail = time.monotonic(), answer.text[:300]
        self._log.append(CreateRefused(client=self._name, at=now, call=call, status=answer.status_code, detail=detail))
        self._tally[f"create: {answer.status_code}"] += 1

    async def _read_until_final(self, id: str, status: str, how: str) -> str:
        """Read until the status is final. A sync client believes a final status; all others read at least once."""
        if how == "sync" and status in FINAL:
            return status
        while (status := await self._read(id)) not in FINAL:
            await self.pause()
        return status

    async def _read(self, id: str) -> str:
        sent_at = time.monotonic()
        try:
            answer = await self._http.get(f"/v1/predictions/{id}")
        except httpx.TransportError:
            self._tally["read: no answer"] += 1
            return "unknown"
        if answer.status_code == 404:
            self._log.append(
                PredictionRead(client=self._name, at=time.monotonic(), sent_at=sent_at, id=id, status="missing")
            )
        if not answer.is_success:
            self._tally[f"read: {answer.status_code}"] += 1
            return "unknown"
        self._append_read(answer.json(), sent_at)
        return answer.json()["status"]

    def _append_read(self, prediction: dict[str, Any], sent_at: float) -> None:
        line = PredictionRead(
            client=self._name,
            at=time.monotonic(),
            sent_at=sent_at,
            id=prediction["id"],
            status=prediction["status"],
            output=prediction["output"],
            error=prediction["error"],
            completed_at=prediction.get("completed_at"),
        )
        self._log.append(line)

    async def _follow(self, id: str, url: str) -> None:
        """Follow a stream to `done`, over as many connections as it takes; the client cuts some of them itself."""
        self._last = None
        while True:
            cut = self._rng.randint(1, 20) if self._rng.random() < 0.2 else None
            try:
                if await self._connect(id, url, cut):
                    return
            except httpx.TransportError:
                self._tally["stream: broken"] += 1
            await self.pause()

    async def _connect(self, id: str, url: str, max_events: int | None) -> bool:
        """Follow a stream on one connection, for `max_events` at most. Returns whether `done` came."""
        self._log.append(StreamOpened(client=self._name, at=time.monotonic(), id=id, after=self._last))
        headers = {"Last-Event-ID": self._last} if self._last else {}
        async with self._http.stream("GET", url, headers=headers) as answer:
            if not answer.is_success:
                self._tally[f"stream: {answer.status_code}"] += 1
                return False
            seen = 0
            async for event in sse.parse_events(answer.aiter_raw()):
                self._append_event(id, event)
                seen += 1
                if event.event == "done" or seen == max_events:
                    return event.event == "done"
        self._tally["stream: ended early"] += 1
        return False

    def _append_event(self, id: str, event: sse.Event) -> None:
        now = time.monotonic()
        line = EventReceived(client=self._name, at=now, id=id, event=event.event, event_id=event.id, data=event.data)
        self._log.append(line)
        self._last = event.id or self._last
