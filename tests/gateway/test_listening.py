import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.http.sockets import Unbound, bound
from gateway.settings import Settings


@pytest.fixture
def opened() -> Any:
    """Binds and listens, as a gateway that serves does; closed after the test."""
    sockets: list[socket.socket] = []

    def opened(**told: Any) -> list[socket.socket]:
        made = bound(Settings(database_url="postgresql://", **told))
        sockets.extend(made)
        for each in made:
            each.listen()
        return made

    yield opened
    for each in sockets:
        each.close()


def port_of(made: list[socket.socket]) -> int:
    return made[0].getsockname()[1]


def test_a_port_in_use_is_refused_with_what_to_do(opened: Callable[..., list[socket.socket]]) -> None:
    port = port_of(opened(port=0))
    with pytest.raises(Unbound, match=rf"port {port} on 127.0.0.1 is in use: .*SAMOVAR_PORT.*SAMOVAR_REUSE_PORT"):
        opened(port=port)


def test_who_shares_a_port_is_not_let_to_that_of_one_who_does_not(opened: Callable[..., list[socket.socket]]) -> None:
    port = port_of(opened(port=0))
    with pytest.raises(Unbound, match="something that does not share it"):
        opened(port=port, reuse_port=True)


def test_several_share_a_port_when_all_say_so(opened: Callable[..., list[socket.socket]]) -> None:
    port = port_of(opened(port=0, reuse_port=True))
    assert port_of(opened(port=port, reuse_port=True)) == port


def test_a_socket_that_was_left_is_replaced_and_is_its_users_alone(
    opened: Callable[..., list[socket.socket]], tmp_path: Path
) -> None:
    path = tmp_path / "own.sock"
    for _ in range(2):
        _, own = opened(port=0, socket=str(path))
        assert own.getsockname() == str(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_in_the_place_of_a_socket_is_left_alone(
    opened: Callable[..., list[socket.socket]], tmp_path: Path
) -> None:
    path = tmp_path / "own.sock"
    path.write_text("kept")
    with pytest.raises(Unbound, match="SAMOVAR_SOCKET"):
        opened(port=0, socket=str(path))
    assert path.read_text() == "kept"
