"""What is being said of predictions, as it is stored: one subscription for all of this gateway's own."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from bus.client import Client, Heard
from schemas import events, subjects
from schemas.events import Event, Final


class Closing(Exception):
    """The gateway is about to stop: whoever listens goes on elsewhere."""


class Ear:
    """One listener to one prediction."""

    def __init__(self) -> None:
        self._heard: list[Event] = []
        self._missed = False
        self._stirred = False
        self._closing = False
        self._woken: asyncio.Future[None] | None = None

    async def next(self) -> list[Event] | None:
        """All that was said since the last call, once there is something. None: something may have been missed.

        It is nothing if the ear was stirred. Raises `Closing`.
        """
        while not self._heard and not self._missed and not self._stirred:
            if self._closing:
                raise Closing
            self._woken = asyncio.get_running_loop().create_future()
            try:
                await self._woken
            finally:
                self._woken = None
        self._stirred = False
        if self._missed:
            self._missed = False
            self._heard.clear()
            return None
        heard, self._heard = self._heard, []
        return heard

    def hear(self, event: Event) -> None:
        self._heard.append(event)
        self._wake()

    def miss(self) -> None:
        self._missed = True
        self._wake()

    def stir(self) -> None:
        """Something else has changed that whoever listens may want to tell."""
        self._stirred = True
        self._wake()

    def close(self) -> None:
        self._closing = True
        self._wake()

    def _wake(self) -> None:
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)


class Live:
    """Ears for predictions: those of the own tag are all heard, others on demand.

    `on_final` gets every final event of the own tag, and whether an ear heard it, too; `on_said` the prediction and the
    kind of every event.
    """

    def __init__(
        self,
        client: Client,
        tag: str,
        on_final: Callable[[Final, bool], None],
        on_said: Callable[[str, str], None] = lambda _, __: None,
    ) -> None:
        self.tag = tag
        self._client = client
        self._on_final = on_final
        self._on_said = on_said
        self._ears: dict[str, list[Ear]] = {}
        self._foreign: dict[str, asyncio.Task[Subscription]] = {}
        self._closing = False

    async def start(self) -> None:
        await self._subscribe(subjects.live_of_tag(self.tag))

    def listen(self, id: str) -> "Listening":
        """From now on; for a prediction of another gateway, from a moment later: the ear is told to read again then."""
        return Listening(self._place(id, follow=subjects.tag(id) != self.tag), id, self._leave)

    def attend(self) -> "Listening":
        """An ear for no prediction: it hears what others stir it for, and that the gateway is about to stop."""
        return Listening(self._place("", follow=False), "", self._leave)

    def missed(self) -> None:
        """Everyone reads again what they follow."""
        for ears in self._ears.values():
            for ear in ears:
                ear.miss()

    @property
    def closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        """Nobody waits here any more."""
        self._closing = True
        for ears in self._ears.values():
            for ear in ears:
                ear.close()

    def _place(self, id: str, *, follow: bool) -> Ear:
        ear = Ear()
        if self._closing:
            ear.close()
        self._ears.setdefault(id, []).append(ear)
        if follow and id not in self._foreign:
            self._foreign[id] = asyncio.create_task(self._follow(id))
        return ear

    def _leave(self, id: str, ear: Ear) -> None:
        ears = self._ears[id]
        ears.remove(ear)
        if not ears:
            del self._ears[id]
            if task := self._foreign.pop(id, None):
                task.add_done_callback(_unfollow)

    async def _follow(self, id: str) -> Subscription:
        subscription = await self._subscribe(subjects.live_of(id))
        with suppress(NatsError, OSError, TimeoutError):
            await self._client.flush(2)
        for ear in self._ears.get(id, []):
            ear.miss()
        return subscription

    async def _subscribe(self, subject: str) -> Subscription:
        return await self._client.hear(subject, self._on)

    def _on(self, message: Heard) -> None:
        id = subjects.id_of(message.subject)
        self._on_said(id, message.subject.rpartition(".")[2])
        ears = self._ears.get(id)
        final = message.subject.endswith(".final")
        if ears is None and not final:
            return
        event = events.decode(message.data)
        if final and subjects.tag(id) == self.tag and isinstance(event, Final):
            self._on_final(event, bool(ears))
        for ear in ears or ():
            ear.hear(event)


class Listening:
    """An ear in its place, for as long as the block goes on."""

    __slots__ = ("_ear", "_id", "_leave")

    def __init__(self, ear: Ear, id: str, leave: Callable[[str, Ear], None]) -> None:
        self._ear = ear
        self._id = id
        self._leave = leave

    def __enter__(self) -> Ear:
        return self._ear

    def __exit__(self, *_: object) -> None:
        self._leave(self._id, self._ear)


def _unfollow(task: asyncio.Task[Subscription]) -> None:
    if not task.cancelled() and task.exception() is None:
        asyncio.ensure_future(_unsubscribe(task.result()))  # noqa: RUF006  nobody waits for it


async def _unsubscribe(subscription: Subscription) -> None:
    with suppress(NatsError, OSError):
        await subscription.unsubscribe()
