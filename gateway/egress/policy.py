"""The egress policy for webhooks: public addresses, and private ones only as far as the settings allow them."""

import re
from functools import cache
from ipaddress import ip_network
from typing import Final

from msgspec import Struct

from schemas.egress import PRIVATE, PUBLIC, IPAddress, IPNetwork, classify

HOST_NAME: Final = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,252})")
HOW_TO_ALLOW: Final = (
    "the operator can allow it with SAMOVAR_WEBHOOK_ALLOW, or all private ones with SAMOVAR_WEBHOOK_PRIVATE"
)


class EgressPolicy(Struct, frozen=True, kw_only=True):
    """The addresses that webhooks may be sent to, beside public ones."""

    allow_http: bool = True
    allow_private: bool = False
    networks: tuple[IPNetwork, ...] = ()
    hosts: frozenset[str] = frozenset()

    def refusal(self, scheme: str, host: str, address: str) -> str | None:
        """Return why nothing may be sent to this address of that host, or None."""
        if scheme != "https" and not self.allow_http:
            return "only https is allowed here (SAMOVAR_WEBHOOK_HTTP)"
        for ip, kind in classify(address):
            if kind not in (PUBLIC, PRIVATE):
                return f"{ip} is {kind}, and webhooks are never sent there"
            if kind == PRIVATE and not self._is_allowed(host, ip):
                return f"{ip} is {kind}; {HOW_TO_ALLOW}"
        return None

    def refusal_by_name(self, scheme: str, host: str) -> str | None:
        """Return why nothing may be sent to this host, as far as can be told without a lookup."""
        try:
            return self.refusal(scheme, host, host)
        except ValueError:
            local = host == "localhost" or host.endswith(".localhost")
            return self.refusal(scheme, host, "127.0.0.1" if local else "1.1.1.1")

    def _is_allowed(self, host: str, ip: IPAddress) -> bool:
        return self.allow_private or host.lower() in self.hosts or any(ip in network for network in self.networks)


@cache
def parse_allow_list(text: str) -> tuple[tuple[IPNetwork, ...], frozenset[str]]:
    """Parse a comma-separated list of networks and host names. Raises `ValueError` for anything else."""
    networks: list[IPNetwork] = []
    hosts: set[str] = set()
    for entry in filter(None, (each.strip().lower() for each in text.split(","))):
        try:
            networks.append(ip_network(entry, strict=False))
        except ValueError:
            if not HOST_NAME.fullmatch(entry) or entry.replace(".", "").isdigit():
                raise ValueError(f"{entry!r} is neither a host's name nor a network such as 10.0.0.0/8") from None
            hosts.add(entry)
    return tuple(networks), frozenset(hosts)
