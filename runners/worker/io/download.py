"""A file at an address on the web, brought here: of a host that may be asked, not too large, and in time."""

import base64
import http.client
import os
import socket
import ssl
import zlib
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import cache
from threading import Timer
from time import monotonic
from typing import IO, Final
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from msgspec import Struct, json

from .egress_policy import refusal

_PIECE: Final = 1 << 16
_CONNECT_WITHIN: Final = 10.0
_GRACE: Final = 1.0  # the timer says it better
_REDIRECTS: Final = 5
_PORTS: Final = {"http": 80, "https": 443}
_MOVED: Final = frozenset({301, 302, 303, 307, 308})
_IN_A_PATH: Final = "/:@!$&'()*+,;=~-._%"
_ANY_ZIP: Final = 47  # gzip or zlib, whichever it is


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """Of fetching the inputs of a prediction."""

    bytes: int = 1_000_000_000
    timeout: float = 60.0
    private: bool = False
    """Loopback and private addresses may be asked, too."""


class Unfetched(Exception):
    """The file cannot be had; the message says why, without the address, which may hold a key."""


def limits(text: str) -> Limits:
    return json.decode(text, type=Limits) if text else Limits()


def fetch(url: str, path: str, limits: Limits, over: Callable[[], bool]) -> None:
    """Into a new file. Raises `Unfetched`; `over` is asked now and then whether anybody still wants it."""
    fetching = _Fetching(limits, over)
    timer = Timer(limits.timeout, fetching.cut)
    timer.daemon = True
    timer.start()
    try:
        with open(path, "xb") as file:
            fetching.into(file, url)
    except (OSError, http.client.HTTPException, zlib.error, ValueError) as error:
        raise Unfetched(fetching.late or _said(error)) from None
    finally:
        timer.cancel()


class _Fetching:
    def __init__(self, limits: Limits, over: Callable[[], bool]) -> None:
        self._limits = limits
        self._over = over
        self._until = monotonic() + limits.timeout
        self._socket: socket.socket | None = None
        self.late: str | None = None

    def cut(self) -> None:
        """In another thread: whatever is waited for fails now."""
        self.late = f"it took longer than the limit of {self._limits.timeout:g} s"
        if (waiting := self._socket) is not None:
            try:
                waiting.shutdown(socket.SHUT_RDWR)
            except OSError:
                return

    def into(self, file: IO[bytes], url: str) -> None:
        for _ in range(_REDIRECTS + 1):
            with self._answer(url) as answer:
                target = answer.headers.get("Location")
                if answer.status not in _MOVED or target is None:
                    return self._take(answer, file)
                url = urljoin(url, target)
        raise Unfetched(f"it was redirected more than {_REDIRECTS} times")

    @contextmanager
    def _answer(self, url: str) -> Generator[http.client.HTTPResponse]:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme not in ("http", "https") or not host:
            raise Unfetched(f"it was redirected to {parts.scheme or 'nowhere'}:, and only http and https are followed")
        connection = http.client.HTTPConnection(host, _port(parts))
        self._socket = connection.sock = self._connected(host, parts)
        try:
            connection.request("GET", _target(parts), headers=_headers(parts))
            with connection.getresponse() as answer:
                yield answer
        finally:
            connection.close()

    def _connected(self, host: str, parts: SplitResult) -> socket.socket:
        """To an address that was checked: there is no second look-up, which could find another."""
        reason = "the host has no address"
        for family, kind, protocol, _, address in socket.getaddrinfo(host, _port(parts), type=socket.SOCK_STREAM):
            if (refused := refusal(str(address[0]), private=self._limits.private)) is not None:
                reason = refused
                continue
            try:
                return self._secured(socket.socket(family, kind, protocol), address, host, parts)
            except OSError as error:
                reason = _said(error)
        raise Unfetched(reason)

    def _secured(
        self, plain: socket.socket, address: tuple[str | int | bytes, ...], host: str, parts: SplitResult
    ) -> socket.socket:
        try:
            self._socket = plain
            plain.settimeout(min(_CONNECT_WITHIN, self._left()))
            plain.connect(address)
            plain.settimeout(self._left() + _GRACE)
            if parts.scheme == "http":
                return plain
            return _trusted().wrap_socket(plain, server_hostname=host)
        except BaseException:
            plain.close()
            raise

    def _take(self, answer: http.client.HTTPResponse, file: IO[bytes]) -> None:
        if answer.status != http.client.OK:
            raise Unfetched(f"the server answered {answer.status} {answer.reason}".rstrip())
        promised = answer.length
        unpack = _unpacking(answer.headers.get("Content-Encoding", ""))
        if promised is not None:
            self._allow(promised)
        came = size = 0
        while piece := answer.read1(_PIECE):
            came += len(piece)
            # No more of it at once than would be refused anyway.
            plain = unpack(piece, self._limits.bytes + 1) if unpack else piece
            size += len(plain)
            self._allow(size)
            file.write(plain)
            self._left()
        self._left()
        if promised is not None and came < promised:
            raise Unfetched(f"the connection ended after {came} of {promised} bytes")

    def _allow(self, size: int) -> None:
        if size > self._limits.bytes:
            raise Unfetched(f"it is larger than the limit of {self._limits.bytes / 1_000_000:g} MB")

    def _left(self) -> float:
        left = self._until - monotonic()
        if self.late or left <= 0:
            raise Unfetched(self.late or f"it took longer than the limit of {self._limits.timeout:g} s")
        if self._over():
            raise Unfetched("nobody wants it any more")
        return left


def _headers(parts: SplitResult) -> dict[str, str]:
    agent = os.environ.get("COG_USER_AGENT") or "samovar"
    headers = {
        "Host": _host(parts),
        "User-Agent": agent,
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "Connection": "close",
    }
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = f"Basic {base64.b64encode(user.encode()).decode()}"
    return headers


def _port(parts: SplitResult) -> int:
    return parts.port or _PORTS[parts.scheme]


def _host(parts: SplitResult) -> str:
    """As a signed address expects it: without the usual port."""
    name = parts.hostname or ""
    name = f"[{name}]" if ":" in name else name.encode("idna").decode()
    return name if _port(parts) == _PORTS[parts.scheme] else f"{name}:{parts.port}"


def _target(parts: SplitResult) -> str:
    path = quote(parts.path or "/", safe=_IN_A_PATH)
    return f"{path}?{quote(parts.query, safe=_IN_A_PATH + '?')}" if parts.query else path


def _unpacking(encoding: str) -> Callable[[bytes, int], bytes] | None:
    """Some servers pack what they were asked to send as it is."""
    packed = encoding.strip().lower() in ("gzip", "x-gzip", "deflate")
    return zlib.decompressobj(_ANY_ZIP).decompress if packed else None


@cache
def _trusted() -> ssl.SSLContext:
    return ssl.create_default_context()


def _said(error: Exception) -> str:
    match error:
        case TimeoutError():
            return "the server did not answer in time"
        case OSError(strerror=str() as text):
            return text[:1].lower() + text[1:]
        case _:
            return str(error) or type(error).__name__
