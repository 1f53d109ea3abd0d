"""The sockets that a gateway listens at, bound before anything else is opened."""

import errno
import os
import socket
import stat
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from gateway.settings import Settings


class Unbound(Exception):
    """There is nothing to listen at; the text says why."""


def bound(settings: Settings) -> list[socket.socket]:
    """At its host and port, and at a Unix socket of its own if it has one. Raises `Unbound`.

    None of them listens yet: among several gateways at one port the kernel spares one that is still starting.
    """
    with ExitStack() as stack:
        try:
            sockets = [stack.enter_context(_at(settings, *each)) for each in _addresses(settings)]
        except OSError as error:
            raise Unbound(_why(settings, error)) from error
        if settings.socket:
            sockets.append(stack.enter_context(_beside(Path(settings.socket))))
        stack.pop_all()  # they stay open
        return sockets


def _addresses(settings: Settings) -> Sequence[tuple[int, tuple[str | bytes | int, ...]]]:
    found = socket.getaddrinfo(settings.host or None, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def _at(settings: Settings, family: int, address: tuple[str | bytes | int, ...]) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if settings.reuse_port:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
    except OSError:
        made.close()
        raise
    return made


def _beside(path: Path) -> socket.socket:
    """For its user alone. What an earlier process has left at its path is replaced."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
            path.unlink()
        made.bind(os.fspath(path))
        path.chmod(0o600)
    except OSError as error:
        made.close()
        raise Unbound(f"cannot listen at SAMOVAR_SOCKET, {path}: {error.strerror or error}") from error
    return made


def _why(settings: Settings, error: OSError) -> str:
    where = f"port {settings.port} on {settings.host}"
    if error.errno != errno.EADDRINUSE:
        return f"cannot listen at {where}: {error.strerror or error}; choose others: SAMOVAR_HOST, SAMOVAR_PORT"
    if settings.reuse_port:
        return f"{where} is in use by something that does not share it, or that another user runs"
    return (
        f"{where} is in use: stop what listens there, or choose another with SAMOVAR_PORT; "
        "several gateways share a port when each is told SAMOVAR_REUSE_PORT=true"
    )
