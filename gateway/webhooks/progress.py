"""Webhooks that ask for output or logs: told that there is more, twice a second at most."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from gateway.background import attempt
from gateway.errors import Unavailable
from schemas.prediction import Prediction

EVERY: Final = 0.5  # seconds
KNOWN: Final = 100_000  # predictions, in case the ends of some are never heard
BY_KIND: Final = {"output": "output", "log": "logs"}
DEFAULT: Final = ("output", "completed")


class Record(Protocol):
    async def progress(self, stirred: Mapping[str, str]) -> dict[str, bool]: ...


class Progress:
    """Of predictions that were made here. If this gateway dies, their ends are told nevertheless."""

    def __init__(self, record: Record, on_told: Callable[[], None]) -> None:
        self._record = record
        self._on_told = on_told
        self._wanted: OrderedDict[str, frozenset[str]] = OrderedDict()
        self._stirred: dict[str, str] = {}
        self._due = asyncio.Event()

    def watch(self, p: Prediction) -> None:
        """Before its first event can come."""
        wanted = frozenset(p.webhook_events or DEFAULT) & {*BY_KIND.values()}
        if p.webhook is not None and wanted:
            self._wanted[p.id] = wanted
            if len(self._wanted) > KNOWN:
                self._wanted.popitem(last=False)

    def heard(self, id: str, kind: str) -> None:
        """Something was said of a prediction, whoever made it."""
        if (wanted := self._wanted.get(id)) is None:
            return
        if kind == "final":
            self._forget(id)
        elif (event := BY_KIND.get(kind, "")) in wanted:
            self._stir(id, event)  # one tells all that there is

    async def serve(self) -> None:
        """Until it is cancelled."""
        while True:
            await self._due.wait()
            await asyncio.sleep(EVERY)
            await attempt(self.tell, "progress of webhooks")

    async def tell(self) -> None:
        """Raises `Unavailable`: then it is told the next time."""
        self._due.clear()
        if not self._stirred:
            return
        stirred, self._stirred = self._stirred, {}
        try:
            begun = await self._record.progress(stirred)
        except Unavailable:
            self._stirred = stirred | self._stirred
            self._due.set()
            raise
        for id, event in stirred.items():
            if id not in begun:  # it has ended
                self._forget(id)
            elif not begun[id]:
                self._stir(id, event)
        self._on_told()

    def _stir(self, id: str, event: str) -> None:
        self._stirred.setdefault(id, event)
        self._due.set()

    def _forget(self, id: str) -> None:
        self._wanted.pop(id, None)
        self._stirred.pop(id, None)
