"""Webhooks about output and logs: reported while a prediction runs, twice a second at most."""

import asyncio
from collections.abc import Mapping
from typing import Final, Protocol

from gateway.background import run_guarded
from gateway.errors import Unavailable
from gateway.events.in_flight import InFlight

REPORT_SECONDS: Final = 0.5  # between two reports, each of which covers all that there is


class ProgressStore(Protocol):
    """The outbox, as far as progress is put into it."""

    async def queue_progress(self, events: Mapping[str, str]) -> dict[str, bool]: ...


class ProgressWebhooks:
    """The source of progress webhooks, for predictions that were submitted here.

    Another gateway reports nothing of them if this one dies, but their end is reported nevertheless. `due` is set when
    there may be something to send.
    """

    def __init__(self, in_flight: InFlight, store: ProgressStore, due: asyncio.Event) -> None:
        self._in_flight = in_flight
        self._store = store
        self._due = due

    async def serve(self) -> None:
        """Report progress until cancelled."""
        while True:
            await self._in_flight.has_progress.wait()
            await asyncio.sleep(REPORT_SECONDS)
            await run_guarded(self.report, "progress of webhooks")

    async def report(self) -> None:
        """Put what is new into the outbox. Raises `Unavailable`: then the next report has it too."""
        progress = self._in_flight.take_progress()
        if not progress:
            return
        try:
            has_started = await self._store.queue_progress(progress)
        except Unavailable:
            self._in_flight.return_progress(progress)
            raise
        for id, event in progress.items():
            if id not in has_started:  # it has ended
                self._in_flight.end_progress(id)
            elif not has_started[id]:
                self._in_flight.add_progress(id, event)
        self._due.set()
