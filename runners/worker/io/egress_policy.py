"""The egress policy as a worker applies it: which hosts an input may be downloaded from.

The agent hands the networks over as data, since nothing of ours can be imported here; `schemas/egress.py` has them,
and the same rule for the gateway. A test holds the two readings together.
"""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

PUBLIC: Final = "a public address"
PRIVATE: Final = "a private address"

_NAT64: Final = ip_network("64:ff9b::/96")
_IPV4_COMPATIBLE: Final = ip_network("::/96")
_IPV4_MASK: Final = 0xFFFF_FFFF


class EgressPolicy:
    """The networks and what kind each of them is. The first network that holds an address decides.

    Without any network nothing is allowed: then the agent has handed no policy over.
    """

    def __init__(self, networks: Iterable[tuple[str, str]], *, allow_private: bool) -> None:
        self._networks: list[tuple[IPv4Network | IPv6Network, str]] = [
            (ip_network(text), kind) for text, kind in networks
        ]
        self._allow_private = allow_private

    def refusal(self, address: str) -> str | None:
        """Return why nothing is downloaded from an address, or None if it is allowed."""
        if not self._networks:
            return "this worker was started without an egress policy"
        for ip in _destinations(ip_address(address.partition("%")[0])):
            kind = self._kind(ip)
            if kind == PRIVATE and not self._allow_private:
                return f"{ip} is {kind}; the operator can allow those with SAMOVAR_PRIVATE_INPUTS=true"
            if kind not in (PUBLIC, PRIVATE):
                return f"{ip} is {kind}, and inputs are never fetched from there"
        return None

    def _kind(self, ip: IPv4Address | IPv6Address) -> str:
        matches = (kind for network, kind in self._networks if network.version == ip.version and ip in network)
        return next(matches, PUBLIC)


def _destinations(ip: IPv4Address | IPv6Address) -> Iterator[IPv4Address | IPv6Address]:
    """Yield the IPv4 addresses that an IPv6 address stands for, or else the address itself."""
    embedded: list[IPv4Address] = []
    if isinstance(ip, IPv6Address):
        candidates = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
        embedded = [candidate for candidate in candidates if candidate is not None]
        is_compatible = ip in _IPV4_COMPATIBLE and not ip.is_loopback and not ip.is_unspecified
        if ip in _NAT64 or is_compatible:
            embedded.append(IPv4Address(int(ip) & _IPV4_MASK))
    yield from embedded or [ip]
