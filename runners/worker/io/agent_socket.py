"""The socket to the agent: whole frames in, whole frames out."""

import socket
from collections.abc import Generator
from contextlib import contextmanager
from threading import Lock
from typing import Final

from ..frames import FromWorker, ToWorker, decode_to_worker, pack, split
from .parent_death import perish

_READ: Final = 1 << 16  # more would be mapped and unmapped at every call
_MUCH: Final = 1 << 18


class Link:
    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._socket.setblocking(True)
        self._socket.set_inheritable(False)
        self._buffer = bytearray()
        self._sending = Lock()
        self._gathering = False
        self._gathered = bytearray()

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self, *, wait: bool) -> list[ToWorker]:
        """What the agent said since; if we do not wait, that may be nothing. Without an agent this process ends."""
        try:
            data = self._socket.recv(_READ, 0 if wait else socket.MSG_DONTWAIT)
        except BlockingIOError:
            return []
        except ConnectionError:
            perish()
        if not data:
            perish()
        self._buffer += data
        return [decode_to_worker(frame) for frame in split(self._buffer)]

    def send(self, *frames: FromWorker) -> None:
        data = b"".join([pack(frame) for frame in frames])
        with self._sending:
            if self._gathering:
                self._gathered += data
                data = self._taken() if len(self._gathered) > _MUCH else b""
            self._say(data)

    @contextmanager
    def gathered(self) -> Generator[None]:
        """What is sent in here goes out together, as each time costs as much as packing some ten frames."""
        with self._sending:
            self._gathering = True
        try:
            yield
        finally:
            with self._sending:
                self._gathering = False
                self._say(self._taken())

    def _taken(self) -> bytes:
        taken, self._gathered = bytes(self._gathered), bytearray()
        return taken

    def _say(self, data: bytes) -> None:
        try:
            if data:
                self._socket.sendall(data)
        except ConnectionError:
            perish()

    def close_in_child(self) -> None:
        """After a fork: the child must neither speak to the agent nor hold the socket open."""
        self._socket.close()
