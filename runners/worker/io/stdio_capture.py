"""Capturing what a predictor prints: by Python, by native code, by its child processes, in order.

The process's stdout and stderr are a pipe that we read ourselves. Python's own streams do not go through it: their text
is taken directly, after what lies in the pipe, so that the order is kept.
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

from .log_routing import Ids, current_owner

_READ_BYTES: Final = 1 << 16
_PIPE_BYTES: Final = 1 << 20
_MAX_PENDING_WRITES: Final = 256  # without a newline
_LINE_BUFFERED: Final = 1  # _IOLBF


class TextSink(Protocol):
    """A receiver of captured text, with the items that own it if they are known."""

    def __call__(self, text: str, ids: Ids | None = None, /) -> None: ...


class StdioCapture:
    """Captures stdout and stderr of this process and passes the text to `emit`, one call at a time, whoever prints.

    `serve` installs it before user code runs. `shield` is entered around our own code that user code calls by
    printing, so that no interrupt lands in it.
    """

    def __init__(self, fd: int | None, emit: TextSink, shield: AbstractContextManager[None]) -> None:
        self._fd = fd
        self._emit = emit
        self._shield = shield
        self._lock = RLock()  # what is collected as garbage while we hold it may print
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._native = _NativeStreams()
        # Polled before each read: a quarter of what a read costs that finds nothing.
        self._poll = select.poll()
        self._streams: tuple[_Stream, ...] = ()

    def install(self, *, on_disconnect: Callable[[], None], watch: int, after_fork: Callable[[], None]) -> None:
        """Take over stdout and stderr.

        `on_disconnect` is called when the other end of the socket `watch` is gone, `after_fork` in forked children.
        """
        self._streams = (_Stream(self, 1), _Stream(self, 2))
        sys.stdout, sys.stderr = self._streams
        self._native.buffer_by_lines()
        if isinstance(sys.__stdout__, io.TextIOWrapper):
            sys.__stdout__.reconfigure(line_buffering=True)
        os.register_at_fork(after_in_child=lambda: self._after_fork(after_fork))
        if self._fd is not None:
            os.set_inheritable(self._fd, False)
            self._poll.register(self._fd, select.POLLIN)
            with contextlib.suppress(OSError, AttributeError):
                fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        Thread(target=self._read_pipe, args=(watch, on_disconnect), name="stdio", daemon=True).start()

    def write(self, stream: "_Stream", text: str) -> None:
        """Take text that Python prints; whole lines are emitted at once."""
        ids = current_owner()
        with self._shield, self._lock:
            pending = stream.pending.setdefault(ids, [])
            pending.append(text)
            if "\n" in text or "\r" in text or len(pending) > _MAX_PENDING_WRITES:
                self._emit_pending(stream, ids)

    def flush(self, stream: "_Stream") -> None:
        """Emit what this context has printed to the stream."""
        ids = current_owner()
        with self._shield, self._lock:
            self._emit_pending(stream, ids)

    def flush_all(self) -> None:
        """Emit everything that was printed so far."""
        self._native.flush()
        with self._shield, self._lock:
            if sys.__stdout__ is not None:
                sys.__stdout__.flush()
            self._drain_pipe()
            if incomplete := self._decoder.decode(b"", final=True):
                self._emit(incomplete)
            for stream in self._streams:
                for ids in list(stream.pending):
                    self._emit_pending(stream, ids)

    def _emit_pending(self, stream: "_Stream", ids: Ids | None) -> None:
        if pending := stream.pending.pop(ids, None):
            self._drain_pipe()
            self._emit("".join(pending), ids)

    def _drain_pipe(self) -> None:
        while self._fd is not None and self._poll.poll(0):
            data = os.read(self._fd, _READ_BYTES)
            if not data:  # the process's own stdout is closed for good
                self._fd = None
            elif text := self._decoder.decode(data):
                self._emit(text)

    def _read_pipe(self, watch: int, on_disconnect: Callable[[], None]) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        poll = select.poll()
        poll.register(watch, 0)  # no event but the end, which is always reported
        if self._fd is not None:
            poll.register(self._fd, select.POLLIN)
        while True:
            for fd, event in poll.poll():
                if fd == watch:
                    on_disconnect()
                elif event & select.POLLIN:
                    with self._lock:
                        self._drain_pipe()
                else:
                    poll.unregister(fd)

    def _after_fork(self, after_fork: Callable[[], None]) -> None:
        self._lock = RLock()
        for stream in self._streams:
            stream.is_direct = True
        after_fork()


class _Stream(io.TextIOBase):
    """A replacement for `sys.stdout` or `sys.stderr`: whole lines are emitted at once, the rest on a flush."""

    encoding = "utf-8"
    errors = "replace"

    def __init__(self, capture: StdioCapture, fd: int) -> None:
        self._capture = capture
        self._fd = fd
        self.pending: dict[Ids | None, list[str]] = {}
        """Text that is not emitted yet, by the items that own it. Guarded by the capture's lock."""
        self.is_direct = False
        """Whether this is a forked child, which prints to the pipe for its parent to read."""

    def write(self, s: str, /) -> int:
        if not isinstance(s, str):  # pyright: ignore[reportUnnecessaryIsInstance]  user code calls this
            raise TypeError(f"write() argument must be str, not {type(s).__name__}")
        if self.is_direct:
            os.write(self._fd, s.encode("utf-8", "replace"))
        else:
            self._capture.write(self, s)
        return len(s)

    def flush(self) -> None:
        if not self.is_direct:
            self._capture.flush(self)

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


class _NativeStreams:
    """The C library's own buffers, which fill silently when stdout is a pipe."""

    def __init__(self) -> None:
        self._libc = ctypes.PyDLL(None)

    def buffer_by_lines(self) -> None:
        with contextlib.suppress(ValueError):  # where the streams have another name
            self._libc.setvbuf(ctypes.c_void_p.in_dll(self._libc, "stdout"), None, _LINE_BUFFERED, 0)

    def flush(self) -> None:
        self._libc.fflush(None)
