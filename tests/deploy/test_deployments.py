"""`samovar deployments` and `samovar hardware`, against a fake gateway and the live stack."""

from collections.abc import Generator
from secrets import token_hex
from typing import Any

import pytest

from benchmarks.stack import Stack
from tests.deploy.command_line import samovar
from tests.deploy.fake_gateway import FakeGateway, run_fake_gateway
from tests.live import stack

__all__ = ["stack"]

pytestmark = pytest.mark.slow


VERSION = "a" * 64
PATH = "/v1/deployments/me/prod"
RELEASE = {
    "number": 2,
    "model": "me/mine",
    "version": VERSION,
    "created_at": "2026-11-23T12:00:00Z",
    "configuration": {"hardware": "cpu", "min_instances": 0, "max_instances": 3},
}
DEPLOYMENT = {
    "owner": "me",
    "name": "prod",
    "current_release": RELEASE,
    "serving": {"number": 1, "version": VERSION, "warm": True},
    "upcoming": {"number": 2, "version": VERSION, "warm": False, "starting": "loading"},
}
PAGE: dict[str, Any] = {"next": None, "previous": None}


@pytest.fixture
def gateway() -> Generator[FakeGateway]:
    with run_fake_gateway() as gateway:
        gateway.versions = [VERSION]
        gateway.responses = {
            ("GET", "/v1/account"): {"username": "me"},
            ("GET", "/v1/hardware"): [{"sku": "cpu", "name": "CPU"}, {"sku": "gpu-t4", "name": "Nvidia T4 GPU"}],
            ("GET", "/v1/deployments"): PAGE | {"results": [DEPLOYMENT]},
            ("POST", "/v1/deployments"): DEPLOYMENT,
            ("GET", PATH): DEPLOYMENT,
            ("PATCH", PATH): DEPLOYMENT,
            ("DELETE", PATH): None,
            ("POST", f"{PATH}/rollback"): DEPLOYMENT,
            ("GET", f"{PATH}/releases"): PAGE | {"results": [RELEASE]},
        }
        yield gateway


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (("hardware",), "cpu\tCPU\ngpu-t4\tNvidia T4 GPU\n"),
        (("deployments", "list"), "me/prod\t1\t2\tme/mine\tcpu\t0-3\tloading\n"),
        (("deployments", "releases", "prod"), f"2\t{VERSION}\tcpu\t0-3\t2026-11-23T12:00:00Z\n"),
        (("deployments", "update", "me/prod", "--max-instances", 3), "release 2; 1 serves until it is warm\n"),
        (("deployments", "delete", "prod", "--yes"), "deleted prod\n"),
    ],
)
def test_the_output_of_each_command(gateway: FakeGateway, arguments: tuple[object, ...], printed: str) -> None:
    result = samovar(gateway, *arguments)
    assert (result.stdout, result.stderr, result.returncode) == (printed, "", 0)


def test_a_model_is_deployed_at_its_latest_version(gateway: FakeGateway) -> None:
    result = samovar(gateway, "deployments", "create", "prod", "me/mine", "--max-instances", 3)
    assert (result.returncode, result.stderr) == (1, "samovar: choose the hardware with --hardware: cpu, gpu-t4\n")
    gateway.responses["GET", "/v1/hardware"] = [{"sku": "cpu", "name": "CPU"}]
    result = samovar(gateway, "deployments", "create", "prod", "me/mine", "--max-instances", 3)
    assert (result.stdout, result.stderr) == ("me/prod\n", "")
    configured = {"hardware": "cpu", "min_instances": 0, "max_instances": 3}
    assert (
        gateway.bodies["POST", "/v1/deployments"]
        == {"name": "prod", "model": "me/mine", "version": VERSION} | configured
    )


def test_only_the_given_options_are_changed(gateway: FakeGateway) -> None:
    samovar(gateway, "deployments", "update", "prod", "--min-instances", 0, "--hardware", "gpu-t4")
    assert gateway.bodies["PATCH", PATH] == {"hardware": "gpu-t4", "min_instances": 0}
    result = samovar(gateway, "deployments", "update", "prod")
    assert (result.returncode, result.stderr.startswith("samovar: nothing to change")) == (1, True)


def test_a_rollback_can_name_the_release(gateway: FakeGateway) -> None:
    samovar(gateway, "deployments", "rollback", "prod")
    assert gateway.bodies["POST", f"{PATH}/rollback"] == {}
    samovar(gateway, "deployments", "rollback", "prod", "--to", 1)
    assert gateway.bodies["POST", f"{PATH}/rollback"] == {"number": 1}


def test_a_deployment_can_be_run(stack: Stack) -> None:
    bare = f"made-{token_hex(4)}"
    name = f"samovar/{bare}"
    created = samovar(stack, "deployments", "create", bare, "samovar/hello-world")
    assert created.returncode == 0, created.stderr
    run = samovar(stack, "deployments", "run", name, "-i", "text=you")
    assert (run.returncode, run.stdout) == (0, "hello you\n"), run.stderr
    assert samovar(stack, "deployments", "delete", name, "--yes").returncode == 0
