"""What a predictor prints: by Python, by native code, by its child processes, in order.

The process's stdout and stderr are a pipe that we read ourselves. Python's own streams do not go through it: they
speak directly, after what lies in the pipe, so that the order is kept.
"""

import codecs
import contextlib
import ctypes
import fcntl
import io
import os
import select
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from threading import RLock, Thread
from typing import BinaryIO, Final, Protocol

from .log_routing import Ids, printer

_READ: Final = 1 << 16
_PIPE: Final = 1 << 20
_LONGEST_WAIT: Final = 256  # writes without a newline
_LINE_BUFFERED: Final = 1  # _IOLBF


class Tell(Protocol):
    def __call__(self, text: str, ids: Ids | None = None, /) -> None: ...


class Speech:
    """All that is printed, as calls of `tell`; one at a time, whoever prints."""

    def __init__(self, fd: int | None, tell: Tell, shield: AbstractContextManager[None]) -> None:
        self._fd = fd
        self._tell = tell
        self._shield = shield
        self._lock = RLock()  # what is collected as garbage while we hold it may print
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._native = _Native()
        # Asked before each read: a quarter of what a read costs that finds nothing.
        self._waiting = select.poll()
        self._streams: tuple[_Stream, ...] = ()

    def install(self, *, lost: Callable[[], None], watch: int, forked: Callable[[], None]) -> None:
        """Take over stdout and stderr. `lost` is called when the other end of `watch`, a socket, is gone."""
        self._streams = (_Stream(self, 1), _Stream(self, 2))
        sys.stdout, sys.stderr = self._streams
        self._native.by_lines()
        if isinstance(sys.__stdout__, io.TextIOWrapper):
            sys.__stdout__.reconfigure(line_buffering=True)
        os.register_at_fork(after_in_child=lambda: self._after_fork(forked))
        if self._fd is not None:
            os.set_inheritable(self._fd, False)
            self._waiting.register(self._fd, select.POLLIN)
            with contextlib.suppress(OSError, AttributeError):
                fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, _PIPE)
        Thread(target=self._listen, args=(watch, lost), name="speech", daemon=True).start()

    def write(self, stream: "_Stream", text: str) -> None:
        ids = printer()
        with self._shield, self._lock:
            pending = stream.pending.setdefault(ids, [])
            pending.append(text)
            if "\n" in text or "\r" in text or len(pending) > _LONGEST_WAIT:
                self._tell_rest(stream, ids)

    def flush(self, stream: "_Stream") -> None:
        ids = printer()
        with self._shield, self._lock:
            self._tell_rest(stream, ids)

    def finish(self) -> None:
        """Everything printed so far is told when this returns."""
        self._native.flush()
        with self._shield, self._lock:
            if sys.__stdout__ is not None:
                sys.__stdout__.flush()
            self._drain()
            if half := self._decoder.decode(b"", final=True):
                self._tell(half)
            for stream in self._streams:
                for ids in list(stream.pending):
                    self._tell_rest(stream, ids)

    def _tell_rest(self, stream: "_Stream", ids: Ids | None) -> None:
        if pending := stream.pending.pop(ids, None):
            self._drain()
            self._tell("".join(pending), ids)

    def _drain(self) -> None:
        while self._fd is not None and self._waiting.poll(0):
            data = os.read(self._fd, _READ)
            if not data:  # the process's own stdout is closed for good
                self._fd = None
            elif text := self._decoder.decode(data):
                self._tell(text)

    def _listen(self, watch: int, lost: Callable[[], None]) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        poll = select.poll()
        poll.register(watch, 0)  # no event but the end, which is always told
        if self._fd is not None:
            poll.register(self._fd, select.POLLIN)
        while True:
            for fd, event in poll.poll():
                if fd == watch:
                    lost()
                elif event & select.POLLIN:
                    with self._lock:
                        self._drain()
                else:
                    poll.unregister(fd)

    def _after_fork(self, forked: Callable[[], None]) -> None:
        self._lock = RLock()
        for stream in self._streams:
            stream.direct = True
        forked()


class _Stream(io.TextIOBase):
    """`sys.stdout` or `sys.stderr`: whole lines are told at once, the rest when asked to flush."""

    encoding = "utf-8"
    errors = "replace"

    def __init__(self, speech: Speech, fd: int) -> None:
        self._speech = speech
        self._fd = fd
        self.pending: dict[Ids | None, list[str]] = {}
        """Of each that prints. Owned by `Speech`, which has the lock."""
        self.direct = False
        """In a forked child: print to the pipe, the parent reads it."""

    def write(self, s: str, /) -> int:
        if not isinstance(s, str):  # pyright: ignore[reportUnnecessaryIsInstance]  user code calls this
            raise TypeError(f"write() argument must be str, not {type(s).__name__}")
        if self.direct:
            os.write(self._fd, s.encode("utf-8", "replace"))
        else:
            self._speech.write(self, s)
        return len(s)

    def flush(self) -> None:
        if not self.direct:
            self._speech.flush(self)

    def fileno(self) -> int:
        return self._fd

    def writable(self) -> bool:
        return True

    @property
    def name(self) -> str:
        return "<stdout>" if self._fd == 1 else "<stderr>"

    @property
    def buffer(self) -> BinaryIO:
        self.flush()
        return open(self._fd, "wb", buffering=0, closefd=False)


class _Native:
    """The C library's own buffers, which a pipe fills without a word."""

    def __init__(self) -> None:
        self._libc = ctypes.PyDLL(None)

    def by_lines(self) -> None:
        with contextlib.suppress(ValueError):  # where the streams have another name
            self._libc.setvbuf(ctypes.c_void_p.in_dll(self._libc, "stdout"), None, _LINE_BUFFERED, 0)

    def flush(self) -> None:
        self._libc.fflush(None)
