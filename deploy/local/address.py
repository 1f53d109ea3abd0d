"""The address of the gateway, checked before anything starts."""

import errno
import socket
from typing import Final

from deploy.errors import AlreadyInUse, UsageError

WILDCARD_HOSTS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


def check_port(host: str, port: int) -> int:
    """Check that the port can be bound, and return it; for 0, return a free one. Raises `AlreadyInUse`, `UsageError`.

    Another process may still take the port before the gateway does; then the gateway reports it.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            return probe.getsockname()[1]
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise AlreadyInUse(
                f"port {port} on {host} is in use: stop what listens there, or choose another port with --port"
            ) from error
        reason = error.strerror or error
        raise UsageError(f"cannot listen on {host}, port {port}: {reason}; choose another --host or --port") from error


def base_url(host: str, port: int) -> str:
    """Return the URL at which clients on this machine reach the gateway."""
    name = WILDCARD_HOSTS.get(host, host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"
