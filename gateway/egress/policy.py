"""Where webhooks may be sent: never to what belongs to a host itself, to private addresses only if that is allowed."""

import re
from collections.abc import Iterator
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from msgspec import Struct

IP = IPv4Address | IPv6Address
NAME: Final = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,252})")

METADATA: Final = frozenset(
    map(
        ip_address,
        (
            "169.254.169.254",
            "169.254.170.2",
            "fd00:ec2::254",
            "fd20:ce::254",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
        ),
    )
)
"""Where clouds tell a machine who it is, and hand out its keys."""

THIS_NETWORK: Final = ip_network("0.0.0.0/8")
TRANSLATED: Final = ip_network("64:ff9b::/96")
LAST_FOUR: Final = 0xFFFF_FFFF
ADVICE: Final = "the operator can allow it with SAMOVAR_WEBHOOK_ALLOW, or all private ones with SAMOVAR_WEBHOOK_PRIVATE"


class Reach(Struct, frozen=True, kw_only=True):
    """What the settings allow beside public addresses."""

    http: bool = True
    private: bool = False
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    hosts: frozenset[str] = frozenset()

    def refusal(self, scheme: str, host: str, address: str) -> str | None:
        """Why nothing is sent to this address of that host, or None."""
        if scheme != "https" and not self.http:
            return "only https is allowed here (SAMOVAR_WEBHOOK_HTTP)"
        for form in _forms(ip_address(address.partition("%")[0])):
            if (kind := _never(form)) is not None:
                return f"{form} is {kind}, and webhooks are never sent there"
            if not form.is_global and not self._allowed(host, form):
                return f"{form} is a private address; {ADVICE}"
        return None

    def refusal_by_name(self, scheme: str, host: str) -> str | None:
        """What can be told without looking the host up."""
        try:
            return self.refusal(scheme, host, host)
        except ValueError:
            local = host == "localhost" or host.endswith(".localhost")
            return self.refusal(scheme, host, "127.0.0.1" if local else "1.1.1.1")

    def _allowed(self, host: str, ip: IP) -> bool:
        return self.private or host.lower() in self.hosts or any(ip in network for network in self.networks)


@cache
def allowed(text: str) -> tuple[tuple[IPv4Network | IPv6Network, ...], frozenset[str]]:
    """Networks and host names of a list with commas. Raises `ValueError` for what is neither."""
    networks: list[IPv4Network | IPv6Network] = []
    hosts: set[str] = set()
    for entry in filter(None, (each.strip().lower() for each in text.split(","))):
        try:
            networks.append(ip_network(entry, strict=False))
        except ValueError:
            if not NAME.fullmatch(entry) or entry.replace(".", "").isdigit():
                raise ValueError(f"{entry!r} is neither a host's name nor a network such as 10.0.0.0/8") from None
            hosts.add(entry)
    return tuple(networks), frozenset(hosts)


def _never(ip: IP) -> str | None:
    if ip in METADATA:
        return "a metadata service"
    if ip.is_loopback:  # also reserved, by the letter
        return None
    if ip.is_unspecified or ip in THIS_NETWORK:
        return "no address of a host"
    for kind in ("link_local", "multicast", "reserved"):
        if getattr(ip, f"is_{kind}"):
            return f"a {kind.replace('_', '-')} address"
    return None


def _forms(ip: IP) -> Iterator[IP]:
    """Itself, or the IPv4 addresses that it stands for."""
    inner: list[IPv4Address] = []
    if isinstance(ip, IPv6Address):
        found = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
        inner = [address for address in found if address is not None]
        if ip in TRANSLATED or (int(ip) >> 32 == 0 and not ip.is_loopback and not ip.is_unspecified):
            inner.append(IPv4Address(int(ip) & LAST_FOUR))
    yield from inner or [ip]
