"""Downloads of input files from the web: from an allowed host, of a limited size, and in time."""

import base64
import http.client
import os
import socket
import ssl
import zlib
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import cache, cached_property
from threading import Timer
from time import monotonic
from typing import IO, Final
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from msgspec import Struct, json

from .egress_policy import EgressPolicy

_READ_BYTES: Final = 1 << 16
_CONNECT_SECONDS: Final = 10.0
_SOCKET_GRACE_SECONDS: Final = 1.0  # the timer's message is the better one
_MAX_REDIRECTS: Final = 5
_PORTS: Final = {"http": 80, "https": 443}
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_PATH_CHARACTERS: Final = "/:@!$&'()*+,;=~-._%"
_GZIP_OR_ZLIB: Final = 47


class DownloadLimits(Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """The limits on downloads of a prediction's inputs, as the agent passes them in `SAMOVAR_INPUTS`, as JSON."""

    bytes: int = 1_000_000_000
    timeout: float = 60.0
    """Seconds for one file."""
    private: bool = False
    """Whether loopback and private addresses are allowed, too."""
    networks: tuple[tuple[str, str], ...] = ()
    """Networks and the kind of their addresses, from `schemas/egress.py`. Without them nothing is downloaded."""

    @cached_property
    def egress_policy(self) -> EgressPolicy:
        """The policy that these networks make."""
        return EgressPolicy(self.networks, allow_private=self.private)


class DownloadFailed(Exception):
    """The file cannot be downloaded; the message says why, without the address, which may hold a key."""


@cache
def parse_limits(text: str) -> DownloadLimits:
    """Return the limits that the agent passed; without a text the strictest."""
    return json.decode(text, type=DownloadLimits) if text else DownloadLimits()


def download(url: str, path: str, limits: DownloadLimits, is_over: Callable[[], bool]) -> None:
    """Download a file to a new path. Raises `DownloadFailed`.

    `is_over` is asked now and then whether the download has become pointless.
    """
    running = _Download(limits, is_over)
    timer = Timer(limits.timeout, running.abort)
    timer.daemon = True
    timer.start()
    try:
        with open(path, "xb") as file:
            running.write_to(file, url)
    except (OSError, http.client.HTTPException, zlib.error, ValueError) as error:
        raise DownloadFailed(running.timeout_message or _reason(error)) from None
    finally:
        timer.cancel()


class _Download:
    """One download under way. `abort` may be called by another thread."""

    def __init__(self, limits: DownloadLimits, is_over: Callable[[], bool]) -> None:
        self._limits = limits
        self._is_over = is_over
        self._deadline = monotonic() + limits.timeout
        self._socket: socket.socket | None = None
        self.timeout_message: str | None = None

    def abort(self) -> None:
        """Time out now: whatever the download waits for fails."""
        self.timeout_message = f"it took longer than the limit of {self._limits.timeout:g} s"
        if (open_socket := self._socket) is not None:
            try:
                open_socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                return

    def write_to(self, file: IO[bytes], url: str) -> None:
        for _ in range(_MAX_REDIRECTS + 1):
            with self._response(url) as response:
                target = response.headers.get("Location")
                if response.status not in _REDIRECTS or target is None:
                    return self._write_body(response, file)
                url = urljoin(url, target)
        raise DownloadFailed(f"it was redirected more than {_MAX_REDIRECTS} times")

    @contextmanager
    def _response(self, url: str) -> Generator[http.client.HTTPResponse]:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme not in ("http", "https") or not host:
            raise DownloadFailed(
                f"it was redirected to {parts.scheme or 'nowhere'}:, and only http and https are followed"
            )
        connection = http.client.HTTPConnection(host, _port(parts))
        self._socket = connection.sock = self._connect(host, parts)
        try:
            connection.request("GET", _request_target(parts), headers=_headers(parts))
            with connection.getresponse() as response:
                yield response
        finally:
            connection.close()

    def _connect(self, host: str, parts: SplitResult) -> socket.socket:
        """Connect to an address that was checked: there is no second look-up, which could find another."""
        reason = "the host has no address"
        for family, kind, protocol, _, address in socket.getaddrinfo(host, _port(parts), type=socket.SOCK_STREAM):
            if (refusal := self._limits.egress_policy.refusal(str(address[0]))) is not None:
                reason = refusal
                continue
            try:
                return self._connect_to(socket.socket(family, kind, protocol), address, host, parts)
            except OSError as error:
                reason = _reason(error)
        raise DownloadFailed(reason)

    def _connect_to(
        self, plain: socket.socket, address: tuple[str | int | bytes, ...], host: str, parts: SplitResult
    ) -> socket.socket:
        try:
            self._socket = plain
            plain.settimeout(min(_CONNECT_SECONDS, self._remaining_seconds()))
            plain.connect(address)
            plain.settimeout(self._remaining_seconds() + _SOCKET_GRACE_SECONDS)
            if parts.scheme == "http":
                return plain
            return _ssl_context().wrap_socket(plain, server_hostname=host)
        except BaseException:
            plain.close()
            raise

    def _write_body(self, response: http.client.HTTPResponse, file: IO[bytes]) -> None:
        if response.status != http.client.OK:
            raise DownloadFailed(f"the server answered {response.status} {response.reason}".rstrip())
        expected = response.length
        decompress = _decompressor(response.headers.get("Content-Encoding", ""))
        if expected is not None:
            self._check_size(expected)
        received = size = 0
        while piece := response.read1(_READ_BYTES):
            received += len(piece)
            # No more of it at once than would be refused anyway.
            content = decompress(piece, self._limits.bytes + 1) if decompress else piece
            size += len(content)
            self._check_size(size)
            file.write(content)
            self._remaining_seconds()
        self._remaining_seconds()
        if expected is not None and received < expected:
            raise DownloadFailed(f"the connection ended after {received} of {expected} bytes")

    def _check_size(self, size: int) -> None:
        if size > self._limits.bytes:
            raise DownloadFailed(f"it is larger than the limit of {self._limits.bytes / 1_000_000:g} MB")

    def _remaining_seconds(self) -> float:
        """Return the time that is left. Raises `DownloadFailed` if it is up, or nobody needs the file any more."""
        remaining = self._deadline - monotonic()
        if self.timeout_message or remaining <= 0:
            raise DownloadFailed(self.timeout_message or f"it took longer than the limit of {self._limits.timeout:g} s")
        if self._is_over():
            raise DownloadFailed("nobody needs it any more")
        return remaining


def _headers(parts: SplitResult) -> dict[str, str]:
    agent = os.environ.get("COG_USER_AGENT") or "samovar"
    headers = {
        "Host": _host_header(parts),
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


def _host_header(parts: SplitResult) -> str:
    """Return the host as a signed address expects it: without the usual port."""
    name = parts.hostname or ""
    name = f"[{name}]" if ":" in name else name.encode("idna").decode()
    return name if _port(parts) == _PORTS[parts.scheme] else f"{name}:{parts.port}"


def _request_target(parts: SplitResult) -> str:
    path = quote(parts.path or "/", safe=_PATH_CHARACTERS)
    return f"{path}?{quote(parts.query, safe=_PATH_CHARACTERS + '?')}" if parts.query else path


def _decompressor(encoding: str) -> Callable[[bytes, int], bytes] | None:
    """Return what undoes a content encoding: some servers compress what they were asked to send as it is."""
    is_compressed = encoding.strip().lower() in ("gzip", "x-gzip", "deflate")
    return zlib.decompressobj(_GZIP_OR_ZLIB).decompress if is_compressed else None


@cache
def _ssl_context() -> ssl.SSLContext:
    return ssl.create_default_context()


def _reason(error: Exception) -> str:
    match error:
        case TimeoutError():
            return "the server did not answer in time"
        case OSError(strerror=str() as text):
            return text[:1].lower() + text[1:]
        case _:
            return str(error) or type(error).__name__
