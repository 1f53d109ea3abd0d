"""uvicorn's HTTP protocol, with a response's head and first piece in one system call and one packet."""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

STATUS_LINE_START: Final = b"HTTP/1.1 "


class CoalescingProtocol(HttpToolsProtocol):
    """uvicorn's protocol on a `CoalescingTransport`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().connection_made(transport)
        coalescing: Any = CoalescingTransport(transport, asyncio.get_running_loop())
        self.transport = coalescing


class CoalescingTransport:
    """A transport that holds a response's head until the next write, or until the loop's next step.

    A separate write costs the kernel 10 µs, and wakes the client for a head that it can do nothing with.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head: bytes | None = None

    def write(self, data: bytes) -> None:
        """Write the data, after the head if one is held."""
        head, self._head = self._head, None
        if head is not None:
            self._transport.write(head + data)
        elif data.startswith(STATUS_LINE_START):
            self._head = data
            self._loop.call_soon(self._flush)
        else:
            self._transport.write(data)

    def close(self) -> None:
        """Write a held head and close the transport."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._head is not None:
            head, self._head = self._head, None
            self._transport.write(head)

    def __getattr__(self, name: str) -> Any:
        """All else is the transport's own."""
        return getattr(self._transport, name)
