import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.http.sockets import CannotListen, bind_sockets
from gateway.settings import Settings


@pytest.fixture
def bind() -> Any:
    """A function that binds and listens as a serving gateway does; the sockets are closed after the test."""
    sockets: list[socket.socket] = []

    def bind_and_listen(**fields: Any) -> list[socket.socket]:
        bound = bind_sockets(Settings(database_url="postgresql://", **fields))
        sockets.extend(bound)
        for each in bound:
            each.listen()
        return bound

    yield bind_and_listen
    for each in sockets:
        each.close()


def port_of(sockets: list[socket.socket]) -> int:
    return sockets[0].getsockname()[1]


def test_a_port_in_use_is_refused_with_advice(bind: Callable[..., list[socket.socket]]) -> None:
    port = port_of(bind(port=0))
    with pytest.raises(CannotListen, match=rf"port {port} on 127.0.0.1 is in use: .*SAMOVAR_PORT.*SAMOVAR_REUSE_PORT"):
        bind(port=port)


def test_a_shared_port_needs_every_gateway_to_share_it(bind: Callable[..., list[socket.socket]]) -> None:
    port = port_of(bind(port=0))
    with pytest.raises(CannotListen, match="something that does not share it"):
        bind(port=port, reuse_port=True)


def test_several_gateways_share_a_port_when_all_are_set_to(bind: Callable[..., list[socket.socket]]) -> None:
    port = port_of(bind(port=0, reuse_port=True))
    assert port_of(bind(port=port, reuse_port=True)) == port


def test_a_stale_unix_socket_is_replaced_and_private(bind: Callable[..., list[socket.socket]], tmp_path: Path) -> None:
    path = tmp_path / "own.sock"
    for _ in range(2):
        _, own = bind(port=0, socket=str(path))
        assert own.getsockname() == str(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_at_the_path_of_a_unix_socket_is_not_replaced(
    bind: Callable[..., list[socket.socket]], tmp_path: Path
) -> None:
    path = tmp_path / "own.sock"
    path.write_text("kept")
    with pytest.raises(CannotListen, match="SAMOVAR_SOCKET"):
        bind(port=0, socket=str(path))
    assert path.read_text() == "kept"
