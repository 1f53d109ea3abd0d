"""The agent's connection to NATS, which reconnects by itself."""

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
from bus.client import Client, Message
from runners.errors import BrokerTimeout, NoResponders, RunnerError

log = structlog.stdlib.get_logger()

REPLY_TIMEOUT: Final = 2.0  # seconds
CLOSE_TIMEOUT: Final = 0.5
MAX_PENDING_MESSAGES: Final = 1_000_000
MAX_PENDING_BYTES: Final = 1 << 30


class Connection:
    """A connection to NATS for the whole agent: publish, ask, listen and subscribe.

    It owns the state of the connection. A pending `ask` fails as soon as the connection breaks.
    """

    def __init__(self) -> None:
        self._client = Client()
        self._up = asyncio.Event()
        self._reconnect_callbacks: list[Callable[[], None]] = []
        self._last_error = ""
        self._is_stopping = False
        self.generation = 0
        """The number of reconnects: what was stored in an earlier generation may be gone."""
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done once the connection is closed for good, or is down while the agent stops."""

    async def publish(
        self, subject: str, payload: bytes = b"", reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        """Publish a message; while the connection is down, wait.

        Raises `BrokerTimeout` once the connection is closed for good.
        """
        if not self._up.is_set():
            await self._up.wait()
        if self.closed.done():
            raise BrokerTimeout("the connection to NATS is lost")
        try:
            await self._client.publish(subject, payload, reply, headers)
        except (ConnectionClosedError, OutboundBufferLimitError) as error:
            raise BrokerTimeout(f"cannot publish: {error}") from error

    def publish_nowait(self, subject: str, payload: bytes = b"", reply: str = "") -> bool:
        """Publish a message without waiting. Returns False, with nothing published, while the connection is down."""
        if self._up.is_set() and not self.closed.done():
            self._client.publish_nowait(subject, payload, reply)
            return True
        return False

    async def ask(
        self,
        subject: str,
        payload: bytes = b"",
        headers: dict[str, str] | None = None,
        within: float = REPLY_TIMEOUT,
    ) -> Message:
        """Publish a message and return its one reply. Raises `BrokerTimeout`, or `NoResponders`.

        While the connection is down, it waits until the connection is up again or `within` seconds have passed, and
        then raises: ask again.
        """
        if not self._up.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(within):  # `wait_for` of 3.11 may lose a cancellation
                    await self._up.wait()
            raise BrokerTimeout("no answer from NATS")
        if self.closed.done():
            raise BrokerTimeout("the connection to NATS is lost")
        try:
            return await self._client.ask(subject, payload, headers, within=within)
        except client.NoResponders as error:
            raise NoResponders(f"nobody listens on {subject}") from error
        except client.NoAnswer as error:
            raise BrokerTimeout("no answer from NATS") from error
        except (ConnectionClosedError, OutboundBufferLimitError) as error:
            raise BrokerTimeout(f"cannot publish: {error}") from error

    async def listen(self, subject: str, on_message: Callable[[Message], None]) -> Subscription:
        """Call a function that never waits with each message, at once: for frequent messages."""
        return await self._client.listen(subject, on_message)

    async def subscribe(
        self, subject: str, on_message: Callable[[Msg], Awaitable[None]], *, queue: str = ""
    ) -> Subscription:
        """Await a coroutine function with each message; agents in the same `queue` group share the messages."""
        return await self._client.subscribe(
            subject,
            queue=queue,
            cb=on_message,
            pending_msgs_limit=MAX_PENDING_MESSAGES,
            pending_bytes_limit=MAX_PENDING_BYTES,
        )

    def new_inbox(self) -> str:
        """Return a new subject for replies."""
        return self._client.new_inbox()

    def on_reconnect(self, callback: Callable[[], None]) -> None:
        """Call `callback` after each reconnect."""
        self._reconnect_callbacks.append(callback)

    def stop_reconnecting(self) -> None:
        """Treat a connection that is down, now or later, as closed: an agent that stops waits for no broker."""
        self._is_stopping = True
        if not self._up.is_set():
            self._set_closed()

    async def flush(self) -> None:
        """Wait for at most `CLOSE_TIMEOUT` until the server has read all that was published."""
        if self.closed.done():
            return
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._client.flush()
        except (NatsError, TimeoutError) as error:
            log.warning("NATS may not have got all messages", reason=str(error) or type(error).__name__)

    async def unsubscribe(self, subscription: Subscription) -> None:
        """End the subscription once the messages on their way have arrived; with the connection down there are none."""
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                can_drain = self._up.is_set() and not self.closed.done()
                await (subscription.drain() if can_drain else subscription.unsubscribe())
        except (NatsError, TimeoutError) as error:
            log.debug("cannot unsubscribe", subject=subscription.subject, reason=str(error))

    @property
    def is_up(self) -> bool:
        """Whether the connection is up."""
        return self._up.is_set()

    async def _connect(self, url: str, name: str) -> None:
        await self._client.connect(
            url,
            name=name,
            allow_reconnect=True,
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.25,  # pyright: ignore[reportArgumentType]  it is passed to asyncio.sleep
            ping_interval=10,
            pending_size=16 << 20,
            error_cb=self._on_error,
            disconnected_cb=self._on_disconnect,
            reconnected_cb=self._on_reconnect,
            closed_cb=self._on_close,
        )
        self._up.set()

    async def _close(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._client.close()

    async def _on_error(self, error: Exception) -> None:
        """Log each new error once: a server that is down is tried several times a second."""
        text = f"{type(error).__name__}: {error}"
        if text != self._last_error:
            log.warning("NATS", error=text)
        self._last_error = text

    async def _on_disconnect(self) -> None:
        self._up.clear()
        self._client.fail_requests()
        if not self._client.is_closed:
            log.warning("lost the connection to NATS")
        if self._is_stopping:
            self._set_closed()

    async def _on_reconnect(self) -> None:
        self.generation += 1
        self._last_error = ""
        self._up.set()
        log.info("connected to NATS again")
        for callback in self._reconnect_callbacks:
            callback()

    async def _on_close(self) -> None:
        self._set_closed()

    def _set_closed(self) -> None:
        self._up.set()  # so that `publish` and `ask` stop waiting, and raise
        if not self.closed.done():
            self.closed.set_result(None)


@asynccontextmanager
async def connected(url: str, name: str) -> AsyncGenerator[Connection]:
    """Connect to NATS for the duration of a `with` block. Raises `RunnerError` if that fails."""
    connection = Connection()
    try:
        await connection._connect(url, name)  # pyright: ignore[reportPrivateUsage]
    except (OSError, NatsError) as error:
        raise RunnerError(f"cannot connect to NATS: {error}") from error
    try:
        yield connection
    finally:
        await connection._close()  # pyright: ignore[reportPrivateUsage]
