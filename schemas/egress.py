"""The egress policy: which networks nobody outside may make us connect to, by webhook or by the URL of an input.

A worker imports nothing of ours, so its agent hands it `SPECIAL_NETWORKS` as data, and it reads them by the rule below.
A test holds the two readings together.
"""

from collections.abc import Iterator
from functools import cache, lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

PUBLIC: Final = "a public address"
"""The kind of an address that is always allowed."""
PRIVATE: Final = "a private address"
"""The kind of an address that an operator may allow. Any other kind than these two is never allowed."""

METADATA: Final = "a metadata service"  # where clouds tell a machine who it is, and hand out its keys
NO_HOST: Final = "no address of a host"
LINK_LOCAL: Final = "a link-local address"
MULTICAST: Final = "a multicast address"
RESERVED: Final = "a reserved address"

SPECIAL_NETWORKS: Final[tuple[tuple[str, str], ...]] = (
    ("169.254.169.254/32", METADATA),
    ("169.254.170.2/32", METADATA),
    ("100.100.100.200/32", METADATA),
    ("168.63.129.16/32", METADATA),
    ("192.0.0.192/32", METADATA),
    ("fd00:ec2::254/128", METADATA),
    ("fd20:ce::254/128", METADATA),
    ("0.0.0.0/8", NO_HOST),
    ("10.0.0.0/8", PRIVATE),
    ("100.64.0.0/10", PRIVATE),
    ("127.0.0.0/8", PRIVATE),
    ("169.254.0.0/16", LINK_LOCAL),
    ("172.16.0.0/12", PRIVATE),
    ("192.0.0.9/32", PUBLIC),
    ("192.0.0.10/32", PUBLIC),
    ("192.0.0.0/24", PRIVATE),
    ("192.0.2.0/24", PRIVATE),
    ("192.168.0.0/16", PRIVATE),
    ("198.18.0.0/15", PRIVATE),
    ("198.51.100.0/24", PRIVATE),
    ("203.0.113.0/24", PRIVATE),
    ("224.0.0.0/4", MULTICAST),
    ("240.0.0.0/4", RESERVED),
    ("::/128", NO_HOST),
    ("::1/128", PRIVATE),
    ("2001:1::1/128", PUBLIC),
    ("2001:1::2/128", PUBLIC),
    ("2001:3::/32", PUBLIC),
    ("2001:4:112::/48", PUBLIC),
    ("2001:20::/28", PUBLIC),
    ("2001:30::/28", PUBLIC),
    ("2001::/23", PRIVATE),
    ("2001:db8::/32", PRIVATE),
    ("3fff::/20", PRIVATE),
    ("2000::/3", PUBLIC),
    ("fc00::/7", PRIVATE),
    ("fe80::/10", LINK_LOCAL),
    ("fec0::/10", PRIVATE),
    ("ff00::/8", MULTICAST),
    ("::/0", RESERVED),
)
"""Networks and the kind of their addresses, as IANA's registries of special-purpose addresses have them.

The first network that holds an address decides; an address in none of them is public.
"""

NAT64: Final = ip_network("64:ff9b::/96")
IPV4_COMPATIBLE: Final = ip_network("::/96")
IPV4_MASK: Final = 0xFFFF_FFFF


def classify(address: str) -> Iterator[tuple[IPAddress, str]]:
    """Yield each address that this one leads to, with its kind. All have to be allowed.

    Raises `ValueError` for a text that is no address.
    """
    for destination in destinations(ip_address(address.partition("%")[0])):
        yield destination, kind_of(destination)


@lru_cache(1024)
def kind_of(ip: IPAddress) -> str:
    """Return the kind of an address: `PUBLIC`, `PRIVATE`, or what it is that is never reached."""
    return next((kind for network, kind in _networks(ip.version) if ip in network), PUBLIC)


def destinations(ip: IPAddress) -> Iterator[IPAddress]:
    """Yield the IPv4 addresses that an IPv6 address stands for, or else the address itself."""
    embedded: list[IPv4Address] = []
    if isinstance(ip, IPv6Address):
        candidates = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
        embedded = [candidate for candidate in candidates if candidate is not None]
        is_compatible = ip in IPV4_COMPATIBLE and not ip.is_loopback and not ip.is_unspecified
        if ip in NAT64 or is_compatible:
            embedded.append(IPv4Address(int(ip) & IPV4_MASK))
    yield from embedded or [ip]


@cache
def _networks(version: int) -> list[tuple[IPNetwork, str]]:
    networks = [(ip_network(text), kind) for text, kind in SPECIAL_NETWORKS]
    return [(network, kind) for network, kind in networks if network.version == version]
