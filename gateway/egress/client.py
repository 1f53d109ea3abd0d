"""Requests to addresses that strangers gave: a name is looked up once, checked, and reached at what was checked."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import httpx

from gateway.egress.policy import Reach

PORTS: Final = {"http": 80, "https": 443}
CONNECT: Final = 4.0  # seconds for one of a host's addresses
LOOKUPS: Final = 8  # at once; slow name servers must not hold up those of our own connections

Lookup = Callable[[str, int], list[str]]


class Refused(Exception):
    """By rule: trying again makes no difference."""


class NoAddress(Exception):
    """The host's name cannot be resolved."""


def look_up(host: str, port: int) -> list[str]:
    """Addresses in the order that the system would try them."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def client(
    reach: Reach, timeout: float, *, ca: str | None = None, verify: bool = True, lookup: Lookup = look_up
) -> httpx.AsyncClient:
    """It follows no redirects, keeps nothing, and heeds no proxy of the environment."""
    transport = Checked(reach, trusted(ca, verify=verify), lookup)
    timeouts = httpx.Timeout(timeout, connect=min(CONNECT, timeout))
    return httpx.AsyncClient(transport=transport, timeout=timeouts, follow_redirects=False, trust_env=False)


def trusted(ca: str | None, *, verify: bool) -> ssl.SSLContext:
    """The usual authorities, and those of a file of the operator's. Raises `ValueError` if that is none."""
    context = httpx.create_ssl_context(trust_env=False)
    if ca is not None:
        try:
            context.load_verify_locations(cafile=ca)
        except OSError as error:  # an ssl.SSLError is one, too
            raise ValueError(f"SAMOVAR_WEBHOOK_CA: {ca} is no file of certificates: {error}") from error
    if not verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class Checked(httpx.AsyncBaseTransport):
    """Connects to an address of the host that was checked, so that a second look-up cannot lead elsewhere.

    A host with any address that is refused is refused altogether. Raises `Refused` and `NoAddress`.
    """

    def __init__(self, reach: Reach, context: ssl.SSLContext, lookup: Lookup) -> None:
        self._reach = reach
        self._lookup = lookup
        self._threads = ThreadPoolExecutor(LOOKUPS, "webhook-names")
        # Connections are known by their address: one that is kept might be used for another name than it was made for.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        self._inner = httpx.AsyncHTTPTransport(verify=context, limits=limits, trust_env=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url, host = request.url, request.url.raw_host.decode("ascii").strip("[]")
        addresses = await self._addresses(url.scheme, host, url.port or PORTS[url.scheme])
        request.extensions = {**request.extensions, "sni_hostname": host}
        for address in addresses[:-1]:
            request.url = url.copy_with(host=address)
            try:
                return await self._inner.handle_async_request(request)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
        request.url = url.copy_with(host=addresses[-1])
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        await self._inner.aclose()

    async def _addresses(self, scheme: str, host: str, port: int) -> list[str]:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._threads, self._lookup, host, port)
        except (OSError, UnicodeError) as error:
            raise NoAddress(f"{host} cannot be resolved: {error.args[-1] if error.args else error}") from error
        for address in found:
            if (refused := self._reach.refusal(scheme, host, address)) is not None:
                raise Refused(refused)
        if not found:
            raise NoAddress(f"{host} has no address")
        return found
