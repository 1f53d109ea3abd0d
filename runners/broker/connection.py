"""The connection to NATS: it comes back by itself, and says when it did."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import ConnectionClosedError, OutboundBufferLimitError
from nats.errors import Error as NatsError

from bus import client
from bus.client import Client, Heard
from runners.errors import NoAnswer, NoResponders, RunnerError

log = structlog.stdlib.get_logger()

ANSWER_WITHIN: Final = 2.0  # seconds
LEAVE_WITHIN: Final = 0.5
PENDING_MESSAGES: Final = 1_000_000
PENDING_BYTES: Final = 1 << 30


class Link:
    """Publish, ask and listen; whoever asked when the connection broke is told at once."""

    def __init__(self) -> None:
        self._client = Client()
        self._up = asyncio.Event()
        self._reconnected: list[Callable[[], None]] = []
        self._complaint = ""
        self._leaving = False
        self.generation = 0
        """Counts connections: what was seen on an earlier one may be gone."""
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the connection is closed for good, or we leave while it is away."""

    async def publish(
        self, subject: str, payload: bytes = b"", reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        """Hand a message to the connection; while it is down, wait.

        Raises `NoAnswer` when the connection is lost for good.
        """
        if not self._up.is_set():
            await self._up.wait()
        if self.lost.done():
            raise NoAnswer("the connection to NATS is lost")
        try:
            await self._client.publish(subject, payload, reply, headers)
        except (ConnectionClosedError, OutboundBufferLimitError) as error:
            raise NoAnswer(f"cannot publish: {error}") from error

    def put(self, subject: str, payload: bytes = b"", reply: str = "") -> bool:
        """The same for who cannot wait. False: the connection is down, and nothing was said."""
        if self._up.is_set() and not self.lost.done():
            self._client.put(subject, payload, reply)
            return True
        return False

    async def ask(
        self,
        subject: str,
        payload: bytes = b"",
        headers: dict[str, str] | None = None,
        within: float = ANSWER_WITHIN,
    ) -> Heard:
        """The one answer to a message. Raises `NoAnswer`, or `NoResponders`.

        A question put while the connection is down fails once it is up, or after its time: ask anew then.
        """
        if not self._up.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(within):  # `wait_for` of Python 3.11 loses a stop that comes with its result
                    await self._up.wait()
            raise NoAnswer("no answer from NATS")
        if self.lost.done():
            raise NoAnswer("the connection to NATS is lost")
        try:
            return await self._client.ask(subject, payload, headers, within=within)
        except client.NoResponders as error:
            raise NoResponders("nobody listens there") from error
        except client.NoAnswer as error:
            raise NoAnswer("no answer from NATS") from error
        except (ConnectionClosedError, OutboundBufferLimitError) as error:
            raise NoAnswer(f"cannot publish: {error}") from error

    async def hear(self, subject: str, heard: Callable[[Heard], None]) -> Subscription:
        """Like `listen`, for what is heard often: at once, and by a function that never waits."""
        return await self._client.hear(subject, heard)

    async def listen(self, subject: str, heard: Callable[[Msg], Awaitable[None]], *, queue: str = "") -> Subscription:
        return await self._client.subscribe(
            subject,
            queue=queue,
            cb=heard,
            pending_msgs_limit=PENDING_MESSAGES,
            pending_bytes_limit=PENDING_BYTES,
        )

    def inbox(self) -> str:
        return self._client.new_inbox()

    def on_reconnect(self, call: Callable[[], None]) -> None:
        self._reconnected.append(call)

    def leave(self) -> None:
        """From now on a connection that is away is lost for good: who stops waits for no broker."""
        self._leaving = True
        if not self._up.is_set():
            self._lose()

    async def flush(self) -> None:
        """Wait until the server has read all that was published, but not for long."""
        if self.lost.done():
            return
        try:
            async with asyncio.timeout(LEAVE_WITHIN):
                await self._client.flush()
        except (NatsError, TimeoutError) as error:
            log.warning("NATS may not have heard all that was said", reason=str(error) or type(error).__name__)

    async def hush(self, subscription: Subscription) -> None:
        """Hear no more, once what is on its way has been heard; a server that is away has nothing on its way."""
        try:
            async with asyncio.timeout(LEAVE_WITHIN):
                await (
                    subscription.drain() if self._up.is_set() and not self.lost.done() else subscription.unsubscribe()
                )
        except (NatsError, TimeoutError) as error:
            log.debug("left without a word", subject=subscription.subject, reason=str(error))

    @property
    def up(self) -> bool:
        return self._up.is_set()

    async def _open(self, url: str, name: str) -> None:
        await self._client.connect(
            url,
            name=name,
            allow_reconnect=True,
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.25,  # pyright: ignore[reportArgumentType]  (it is given to asyncio.sleep)
            ping_interval=10,
            pending_size=16 << 20,
            error_cb=self._erred,
            disconnected_cb=self._went_down,
            reconnected_cb=self._came_back,
            closed_cb=self._closed,
        )
        self._up.set()

    async def _close(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_WITHIN):
                await self._client.close()

    async def _erred(self, error: Exception) -> None:
        """Once for each new reason: a server that is away is tried several times a second."""
        complaint = f"{type(error).__name__}: {error}"
        if complaint != self._complaint:
            log.warning("NATS", error=complaint)
        self._complaint = complaint

    async def _went_down(self) -> None:
        self._up.clear()
        self._client.give_up()
        if not self._client.is_closed:
            log.warning("lost the connection to NATS")
        if self._leaving:
            self._lose()

    async def _came_back(self) -> None:
        self.generation += 1
        self._complaint = ""
        self._up.set()
        log.info("connected to NATS again")
        for call in self._reconnected:
            call()

    async def _closed(self) -> None:
        self._lose()

    def _lose(self) -> None:
        self._up.set()  # whoever waits finds out by publishing
        if not self.lost.done():
            self.lost.set_result(None)


@asynccontextmanager
async def connected(url: str, name: str) -> AsyncGenerator[Link]:
    link = Link()
    try:
        await link._open(url, name)  # pyright: ignore[reportPrivateUsage]
    except (OSError, NatsError) as error:
        raise RunnerError(f"cannot connect to NATS: {error}") from error
    try:
        yield link
    finally:
        await link._close()  # pyright: ignore[reportPrivateUsage]
