"""The socket to the agent: whole frames in, whole frames out."""

import socket
from collections.abc import Generator
from contextlib import contextmanager
from threading import Lock
from typing import Final

from ..frames import FromWorker, ToWorker, decode_to_worker, encode_frame, take_frames
from .parent_death import kill_own_group

_READ_BYTES: Final = 1 << 16  # more would be mapped and unmapped at every call
_FLUSH_BYTES: Final = 1 << 18
"""How much is coalesced at most before it is sent."""


class AgentSocket:
    """The worker's end of the socket. Without an agent at the other end the process ends.

    Any thread may send. Only the loop that runs jobs receives.
    """

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._socket.setblocking(True)
        self._socket.set_inheritable(False)
        self._received = bytearray()
        self._send_lock = Lock()
        self._coalescing = False
        self._unsent = bytearray()

    def fileno(self) -> int:
        """Return the socket's file descriptor."""
        return self._socket.fileno()

    def receive(self, *, wait: bool) -> list[ToWorker]:
        """Return the frames that have arrived. Without `wait` there may be none."""
        try:
            data = self._socket.recv(_READ_BYTES, 0 if wait else socket.MSG_DONTWAIT)
        except BlockingIOError:
            return []
        except ConnectionError:
            kill_own_group()
        if not data:
            kill_own_group()
        self._received += data
        return [decode_to_worker(frame) for frame in take_frames(self._received)]

    def send(self, *frames: FromWorker) -> None:
        """Send frames to the agent, or coalesce them with others inside `coalesce`."""
        data = b"".join([encode_frame(frame) for frame in frames])
        with self._send_lock:
            if self._coalescing:
                self._unsent += data
                data = self._take_unsent() if len(self._unsent) > _FLUSH_BYTES else b""
            self._write(data)

    @contextmanager
    def coalesce(self) -> Generator[None]:
        """Send what is sent within the block in one go: each system call costs as much as packing some ten frames."""
        with self._send_lock:
            self._coalescing = True
        try:
            yield
        finally:
            with self._send_lock:
                self._coalescing = False
                self._write(self._take_unsent())

    def _take_unsent(self) -> bytes:
        unsent, self._unsent = bytes(self._unsent), bytearray()
        return unsent

    def _write(self, data: bytes) -> None:
        try:
            if data:
                self._socket.sendall(data)
        except ConnectionError:
            kill_own_group()

    def close_in_child(self) -> None:
        """Close the socket after a fork: the child must neither speak to the agent nor hold the socket open."""
        self._socket.close()
