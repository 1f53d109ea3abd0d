"""An HTTP client for URLs that clients gave: a host is resolved once, checked, and reached at the checked address."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import httpx

from gateway.egress.policy import EgressPolicy

DEFAULT_PORTS: Final = {"http": 80, "https": 443}
CONNECT_SECONDS: Final = 4.0  # for each of a host's addresses
MAX_LOOKUPS: Final = 8  # at once; slow name servers must not hold up lookups of our own connections

Resolve = Callable[[str, int], list[str]]


class EgressRefused(Exception):
    """The egress policy does not allow this address, so trying again makes no difference."""


class HostNotResolved(Exception):
    """The host's name cannot be resolved."""


def resolve_host(host: str, port: int) -> list[str]:
    """Return the addresses of a host, in the order in which the system would try them."""
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in infos))


def build_client(
    policy: EgressPolicy, timeout: float, *, ca: str | None = None, verify: bool = True, resolve: Resolve = resolve_host
) -> httpx.AsyncClient:
    """Build a client that follows no redirects, keeps no connections, and ignores proxies of the environment."""
    transport = CheckedTransport(policy, build_tls_context(ca, verify=verify), resolve)
    timeouts = httpx.Timeout(timeout, connect=min(CONNECT_SECONDS, timeout))
    return httpx.AsyncClient(transport=transport, timeout=timeouts, follow_redirects=False, trust_env=False)


def build_tls_context(ca: str | None, *, verify: bool) -> ssl.SSLContext:
    """Build a TLS context that trusts the usual authorities and those in a file of the operator's.

    Raises `ValueError` if the file holds no certificates.
    """
    context = httpx.create_ssl_context(trust_env=False)
    if ca is not None:
        try:
            context.load_verify_locations(cafile=ca)
        except OSError as error:  # includes ssl.SSLError
            raise ValueError(f"SAMOVAR_WEBHOOK_CA: {ca} is not a file of certificates: {error}") from error
    if not verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class CheckedTransport(httpx.AsyncBaseTransport):
    """A transport that connects to the address that was checked, so no second lookup can lead elsewhere.

    A host with any address that is refused is refused altogether. Raises `EgressRefused` and `HostNotResolved`.
    """

    def __init__(self, policy: EgressPolicy, context: ssl.SSLContext, resolve: Resolve) -> None:
        self._policy = policy
        self._resolve = resolve
        self._threads = ThreadPoolExecutor(MAX_LOOKUPS, "webhook-names")
        # A pool knows connections by address only: one that is kept could be used for another host name.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        self._inner = httpx.AsyncHTTPTransport(verify=context, limits=limits, trust_env=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request to an address of its host that the policy allows."""
        url, host = request.url, request.url.raw_host.decode("ascii").strip("[]")
        addresses = await self._resolve_checked(url.scheme, host, url.port or DEFAULT_PORTS[url.scheme])
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
        """Close the connections and the resolver threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        await self._inner.aclose()

    async def _resolve_checked(self, scheme: str, host: str, port: int) -> list[str]:
        loop = asyncio.get_running_loop()
        try:
            addresses = await loop.run_in_executor(self._threads, self._resolve, host, port)
        except (OSError, UnicodeError) as error:
            raise HostNotResolved(f"{host} cannot be resolved: {error.args[-1] if error.args else error}") from error
        for address in addresses:
            if (reason := self._policy.refusal(scheme, host, address)) is not None:
                raise EgressRefused(reason)
        if not addresses:
            raise HostNotResolved(f"{host} has no address")
        return addresses
