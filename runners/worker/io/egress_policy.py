"""Which hosts an input may be fetched from: never what belongs to the host itself, private ones if that is allowed."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

_METADATA: Final = frozenset(
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

_THIS_NETWORK: Final = ip_network("0.0.0.0/8")
_TRANSLATED: Final = ip_network("64:ff9b::/96")
_LAST_FOUR: Final = 0xFFFF_FFFF


def refusal(address: str, *, private: bool) -> str | None:
    """Why nothing is fetched from there, or None."""
    for form in _forms(ip_address(address.partition("%")[0])):
        if (kind := _never(form)) is not None:
            return f"{form} is {kind}, and inputs are never fetched from there"
        if not form.is_global and not private:
            return f"{form} is a private address; the operator can allow those with SAMOVAR_PRIVATE_INPUTS=true"
    return None


def _never(ip: IPv4Address | IPv6Address) -> str | None:
    if ip in _METADATA:
        return "a metadata service"
    if ip.is_loopback:  # also reserved, by the letter
        return None
    if ip.is_unspecified or ip in _THIS_NETWORK:
        return "no address of a host"
    for kind in ("link_local", "multicast", "reserved"):
        if getattr(ip, f"is_{kind}"):
            return f"a {kind.replace('_', '-')} address"
    return None


def _forms(ip: IPv4Address | IPv6Address) -> Iterator[IPv4Address | IPv6Address]:
    """Itself, or the IPv4 addresses that it stands for."""
    inner: list[IPv4Address] = []
    if isinstance(ip, IPv6Address):
        found = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
        inner = [address for address in found if address is not None]
        if ip in _TRANSLATED or (int(ip) >> 32 == 0 and not ip.is_loopback and not ip.is_unspecified):
            inner.append(IPv4Address(int(ip) & _LAST_FOUR))
    yield from inner or [ip]
