"""What a request to a stranger's address connects to."""

import ipaddress
import shutil
import subprocess
from collections.abc import AsyncGenerator
from pathlib import Path

import httpx
import pytest

from gateway.egress import client as outgoing
from gateway.egress.client import EgressRefused, HostNotResolved
from gateway.egress.policy import EgressPolicy
from gateway.webhooks.sender import describe_error
from tests.gateway.receiver import Receiver, free_port, receiving

LOCAL = EgressPolicy(networks=(ipaddress.ip_network("127.0.0.0/8"),))


@pytest.fixture
async def receiver() -> AsyncGenerator[Receiver]:
    async with receiving(Receiver(free_port())) as receiver:
        yield receiver


async def test_a_host_is_resolved_once_and_reached_at_the_checked_address(receiver: Receiver):
    asked: list[str] = []

    def lookup(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    async with outgoing.build_client(LOCAL, 5, resolve=lookup) as client:
        answer = await client.post(f"http://hooks.example:{receiver.port}/hook", content=b"{}")
    assert answer.status_code == 200
    assert asked == ["hooks.example"]
    assert receiver.got[0].headers["host"] == f"hooks.example:{receiver.port}"


@pytest.mark.parametrize(
    "addresses", [["10.0.0.1"], ["127.0.0.1", "10.0.0.1"], ["127.0.0.1", "::ffff:169.254.169.254"]]
)
async def test_a_host_with_any_refused_address_is_refused(receiver: Receiver, addresses: list[str]):
    async with outgoing.build_client(LOCAL, 5, resolve=lambda *_: addresses) as client:
        with pytest.raises(EgressRefused):
            await client.post(f"http://hooks.example:{receiver.port}/", content=b"{}")
    assert receiver.got == []


async def test_the_next_address_is_tried_when_one_does_not_answer(receiver: Receiver):
    async with outgoing.build_client(LOCAL, 5, resolve=lambda *_: ["127.0.0.2", "127.0.0.1"]) as client:
        answer = await client.post(f"http://hooks.example:{receiver.port}/", content=b"{}")
    assert (answer.status_code, receiver.got[0].raw) == (200, b"{}")


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f.0.0.1", "017700000001"])
async def test_other_notations_of_an_address_are_resolved_and_checked(receiver: Receiver, host: str):
    async with outgoing.build_client(EgressPolicy(), 5) as client:
        with pytest.raises((EgressRefused, HostNotResolved)):
            await client.post(f"http://{host}:{receiver.port}/", content=b"{}")
    assert receiver.got == []


async def test_a_host_that_cannot_be_resolved_is_named():
    def lookup(host: str, port: int) -> list[str]:
        raise OSError(-2, "Name or service not known")

    async with outgoing.build_client(EgressPolicy(), 5, resolve=lookup) as client:
        with pytest.raises(HostNotResolved, match=r"hooks\.example cannot be resolved: Name or service not known"):
            await client.post("http://hooks.example/", content=b"{}")


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[str, str]:
    """Signed by itself, for hooks.example: its file, and that of its key."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate with")
    cert, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=hooks.example"]
    command += ["-addext", "subjectAltName=DNS:hooks.example", "-keyout", key, "-out", cert]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


async def test_certificates_are_checked_against_the_host_of_the_url(certificate: tuple[str, str]):
    cert, key = certificate

    async def answer(name: str, *, ca: str | None = None, verify: bool = True) -> int:
        async with outgoing.build_client(LOCAL, 5, ca=ca, verify=verify, resolve=lambda *_: ["127.0.0.1"]) as client:
            return (await client.post(f"https://{name}:{receiver.port}/", content=b"{}")).status_code

    async with receiving(Receiver(free_port()), ssl_certfile=cert, ssl_keyfile=key) as receiver:
        with pytest.raises(httpx.ConnectError) as stranger:
            await answer("hooks.example")
        assert "self" in describe_error(stranger.value)
        assert "SAMOVAR_WEBHOOK_CA" in describe_error(stranger.value)
        with pytest.raises(httpx.ConnectError):
            await answer("others.example", ca=cert)
        assert await answer("hooks.example", ca=cert) == 200
        assert await answer("others.example", verify=False) == 200


def test_a_file_that_holds_no_certificates_is_named(tmp_path: Path):
    (tmp_path / "empty.pem").touch()
    for name in "none.pem", "empty.pem":
        with pytest.raises(ValueError, match=f"SAMOVAR_WEBHOOK_CA: .*{name}"):
            outgoing.build_tls_context(str(tmp_path / name), verify=True)
