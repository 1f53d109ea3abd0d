"""The address that the gateway is going to have, checked before anything is started."""

import errno
import socket
from typing import Final

from deploy.errors import InUse, Unusable

EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


def bindable(host: str, port: int) -> int:
    """The port, or a free one for 0; somebody else may still be faster than we are, then the gateway says so."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            return probe.getsockname()[1]
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise InUse(
                f"port {port} on {host} is in use: stop what listens there, or choose another port with --port"
            ) from error
        reason = error.strerror or error
        raise Unusable(f"cannot listen on {host}, port {port}: {reason}; choose others: --host, --port") from error


def base_url(host: str, port: int) -> str:
    """Where clients on this machine find it."""
    name = EVERYWHERE.get(host, host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"
