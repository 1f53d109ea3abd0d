"""The sockets that a gateway listens on, bound before anything else is opened."""

import errno
import os
import socket
import stat
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from gateway.settings import Settings


class CannotListen(Exception):
    """The gateway cannot listen where its settings say; the message says why."""


def bind_sockets(settings: Settings) -> list[socket.socket]:
    """Bind the host and port, and the Unix socket if the settings name one. Raises `CannotListen`.

    None of the sockets listens yet: of several gateways on one port, the kernel spares one that is still starting.
    """
    with ExitStack() as stack:
        try:
            sockets = [stack.enter_context(_bind_tcp(settings, *each)) for each in _resolve_addresses(settings)]
        except OSError as error:
            raise CannotListen(_explain(settings, error)) from error
        if settings.socket:
            sockets.append(stack.enter_context(_bind_unix(Path(settings.socket))))
        stack.pop_all()  # they stay open
        return sockets


def _resolve_addresses(settings: Settings) -> Sequence[tuple[int, tuple[str | bytes | int, ...]]]:
    infos = socket.getaddrinfo(settings.host or None, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((family, address) for family, _, _, _, address in infos))


def _bind_tcp(settings: Settings, family: int, address: tuple[str | bytes | int, ...]) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if settings.reuse_port:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def _bind_unix(path: Path) -> socket.socket:
    """Bind a Unix socket that only its user may use; what an earlier process left at the path is replaced."""
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
            path.unlink()
        bound.bind(os.fspath(path))
        path.chmod(0o600)
    except OSError as error:
        bound.close()
        raise CannotListen(f"cannot listen at SAMOVAR_SOCKET, {path}: {error.strerror or error}") from error
    return bound


def _explain(settings: Settings, error: OSError) -> str:
    where = f"port {settings.port} on {settings.host}"
    if error.errno != errno.EADDRINUSE:
        return f"cannot listen at {where}: {error.strerror or error}; choose others: SAMOVAR_HOST, SAMOVAR_PORT"
    if settings.reuse_port:
        return f"{where} is in use by something that does not share it, or that another user runs"
    return (
        f"{where} is in use: stop what listens there, or choose another with SAMOVAR_PORT; "
        "several gateways share a port when each is told SAMOVAR_REUSE_PORT=true"
    )
