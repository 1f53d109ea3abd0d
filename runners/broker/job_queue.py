"""Jobs of one version off JetStream: as many as there is credit for, and no more."""

import asyncio
import time
from collections.abc import Callable
from typing import Final, Protocol

import structlog
from msgspec import json
from nats.aio.subscription import Subscription

from bus.client import Heard
from runners.errors import NoAnswer, RunnerError
from schemas import subjects

log = structlog.stdlib.get_logger()

EXPIRES: Final = 30  # seconds that the server keeps a request for jobs, give or take
HEARTBEAT: Final = 5
BRIEF: Final = 2.2 * HEARTBEAT  # a request for less than two heartbeats is refused by the server
SILENCE: Final = 2.2 * HEARTBEAT  # after which a request for jobs counts as lost
SOON: Final = 0.02  # seconds in which, if jobs are quick, more of the credit becomes free
SECOND: Final = 1_000_000_000


class Broker(Protocol):
    """What an inbox needs of the connection."""

    async def publish(
        self, subject: str, payload: bytes = b"", reply: str = "", headers: dict[str, str] | None = None
    ) -> None: ...
    def put(self, subject: str, payload: bytes = b"", reply: str = "") -> bool: ...
    async def hear(self, subject: str, heard: Callable[[Heard], None]) -> Subscription: ...
    async def hush(self, subscription: Subscription) -> None: ...
    def inbox(self) -> str: ...


class Consumers(Protocol):
    """What an inbox needs of JetStream."""

    @property
    def born(self) -> str: ...
    async def ensure(self) -> None: ...
    async def consumer(self, name: str, filter: str, ack_wait: float) -> None: ...


class Delivery:
    """A job in hand. It is settled or given back; if neither, JetStream gives it to somebody else."""

    __slots__ = ("_inbox", "_tokens", "data", "pending", "pulled_at", "redelivered", "subject")

    def __init__(self, inbox: "Inbox", msg: Heard, born: str) -> None:
        self._inbox = inbox
        self._tokens = [(born, msg.reply)]
        self.subject = msg.subject
        self.data = msg.data
        self.pulled_at = time.time()
        self.redelivered = msg.delivered > 1
        self.pending = msg.pending
        """Jobs behind it in the queue."""

    def adopt(self, later: "Delivery") -> None:
        """The same job came again while it is in hand: what is said of one holds for both."""
        self._tokens += later._tokens
        self._inbox.release(later)

    async def settle(self) -> None:
        await self._say(b"+ACK")
        self._inbox.let_go(self)

    async def give_back(self, *, later: float = 0.0) -> None:
        """For whoever asks next, or is asking in so many seconds."""
        await self._say(b"-NAK " + json.encode({"delay": int(later * SECOND)}) if later else b"-NAK")
        self._inbox.let_go(self)

    async def refuse(self) -> None:
        """It makes no sense, and nobody shall get it again."""
        await self._say(b"+TERM")
        self._inbox.let_go(self)

    async def hold(self) -> None:
        await self._say(b"+WPI")

    async def _say(self, word: bytes) -> None:
        for born, reply in self._tokens:
            # In a stream made anew the same words would speak of another job.
            if born == self._inbox.born:
                await self._inbox.say(reply, word)


def expiry(now: float) -> float:
    """Seconds for which to ask now, so that all requests of this agent that bring nothing end at the same moment.

    Asked anew together, they are kept alive together, too: many idle inboxes wake server and agent as often as one.
    """
    left = EXPIRES - now % EXPIRES
    return left if left >= BRIEF else left + EXPIRES


class Inbox:
    def __init__(
        self,
        link: Broker,
        streams: Consumers,
        *,
        name: str,
        filter: str,
        ack_wait: float,
        credit: Callable[[], int],
        receive: Callable[[Delivery], None],
    ) -> None:
        self._link = link
        self._streams = streams
        self._name = name
        self._filter = filter
        self._ack_wait = ack_wait
        self._credit = credit
        self._receive = receive
        self._subject = link.inbox()
        self._subscription: Subscription | None = None
        self._held: set[Delivery] = set()
        self._asked = 0
        self._heard_at = 0.0
        self._lost = asyncio.Event()
        self._lost.set()
        self._open = False
        self._soon: asyncio.TimerHandle | None = None
        self.pending = 0
        """Jobs that wait in the queue, as far as we have heard."""

    async def keep(self) -> None:
        """Ask for jobs, for as long as this goes on; make the consumer whenever it is missing."""
        self._subscription = await self._link.hear(self._subject, self._heard)
        self._open = True
        self._lost.set()
        while True:
            await self._lost.wait()
            self._lost.clear()
            try:
                await self._streams.ensure()
                await self._streams.consumer(self._name, self._filter, self._ack_wait)
            except RunnerError as error:
                log.warning("no consumer yet; trying again", consumer=self._name, reason=str(error))
                await asyncio.sleep(0.25)
                self._lost.set()
                continue
            self._asked = 0
            self.top_up()

    async def close(self) -> None:
        """Take no more; what is on its way is given back."""
        self._open = False
        self._not_soon()
        if self._subscription is not None:
            await self._link.hush(self._subscription)

    async def tick(self) -> None:
        """Every few seconds: nobody else shall get what is in hand; a silent broker is asked again."""
        for delivery in list(self._held):
            await delivery.hold()
        if self._asked and time.monotonic() - self._heard_at > SILENCE:
            self.lose()

    def lose(self) -> None:
        """What was asked for is forgotten: make sure of the consumer, and ask again."""
        self._lost.set()

    def top_up(self) -> None:
        """Ask for what is missing: at once if that is half of the credit or there is nothing at all.

        So quick jobs are asked for seldom, and many at a time. Less than half is asked for a moment later when nothing
        else is on its way: beside long jobs it would be idle until enough of them end.
        """
        if not self._open or self._lost.is_set():
            return
        credit = self._credit()
        free = credit - len(self._held) - self._asked
        if free * 2 >= credit or not (self._held or self._asked):
            self._ask(free)
        elif free > 0 and not self._asked and self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(SOON, self._ask_for_rest)

    def _ask_for_rest(self) -> None:
        self._soon = None
        if self._open and not self._lost.is_set():
            self._ask(self._credit() - len(self._held) - self._asked)

    def _ask(self, free: int) -> None:
        self._not_soon()
        if free < 1:
            return
        if not self._asked:
            self._heard_at = time.monotonic()
        request = {
            "batch": free,
            "expires": int(expiry(time.monotonic()) * SECOND),
            "idle_heartbeat": HEARTBEAT * SECOND,
        }
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{subjects.JOBS}.{self._name}"
        if self._link.put(subject, json.encode(request), self._subject):  # else it is lost, and asked for anew
            self._asked += free

    def _not_soon(self) -> None:
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None

    def let_go(self, delivery: Delivery) -> None:
        self.release(delivery)
        self.top_up()

    def release(self, delivery: Delivery) -> None:
        self._held.discard(delivery)

    async def say(self, subject: str, payload: bytes, reply: str = "") -> None:
        try:
            await self._link.publish(subject, payload, reply)
        except NoAnswer:
            # The connection is closed for good: the job goes to somebody else.
            return

    @property
    def born(self) -> str:
        return self._streams.born

    @property
    def held(self) -> int:
        return len(self._held)

    def _heard(self, msg: Heard) -> None:
        self._heard_at = time.monotonic()
        if (code := msg.status) is not None:
            self._told(code, msg)
            self.top_up()
            return
        self._asked = max(0, self._asked - 1)
        if not self._open:
            self._link.put(msg.reply, b"-NAK")
            return
        delivery = Delivery(self, msg, self._streams.born)
        self._held.add(delivery)
        self.pending = delivery.pending
        self._receive(delivery)
        self.top_up()

    def _told(self, code: int, msg: Heard) -> None:
        headers = msg.headers
        match code:
            case 100:
                return
            case 404 | 408:
                self._asked = max(0, self._asked - int(headers.get("Nats-Pending-Messages", self._asked)))
            case 409 if "Nats-Pending-Messages" in headers:
                self._asked = max(0, self._asked - int(headers["Nats-Pending-Messages"]))
            case _:
                # 409: the consumer is gone, or has another leader; 503: there is none.
                log.info("asking for jobs anew", consumer=self._name, status=code, reason=msg.reason)
                asyncio.get_running_loop().call_later(0.1, self.lose)
