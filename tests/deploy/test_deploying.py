"""`samovar deployments` and `samovar hardware`, against a gateway that answers as it is told."""

from collections.abc import Generator
from typing import Any

import pytest

from tests.deploy.fake import FakeGateway, samovar, serving

pytestmark = pytest.mark.slow


V = "a" * 64
AT = "/v1/deployments/me/prod"
RELEASE = {
    "number": 2,
    "model": "me/mine",
    "version": V,
    "created_at": "2026-11-23T12:00:00Z",
    "configuration": {"hardware": "cpu", "min_instances": 0, "max_instances": 3},
}
DEPLOYMENT = {
    "owner": "me",
    "name": "prod",
    "current_release": RELEASE,
    "serving": {"number": 1, "version": V, "warm": True},
    "upcoming": {"number": 2, "version": V, "warm": False, "starting": "loading"},
}
PAGE: dict[str, Any] = {"next": None, "previous": None}


@pytest.fixture
def gateway() -> Generator[FakeGateway]:
    with serving() as gateway:
        gateway.versions = [V]
        gateway.more = {
            ("GET", "/v1/account"): {"username": "me"},
            ("GET", "/v1/hardware"): [{"sku": "cpu", "name": "CPU"}, {"sku": "gpu-t4", "name": "Nvidia T4 GPU"}],
            ("GET", "/v1/deployments"): PAGE | {"results": [DEPLOYMENT]},
            ("POST", "/v1/deployments"): DEPLOYMENT,
            ("GET", AT): DEPLOYMENT,
            ("PATCH", AT): DEPLOYMENT,
            ("DELETE", AT): None,
            ("POST", f"{AT}/rollback"): DEPLOYMENT,
            ("GET", f"{AT}/releases"): PAGE | {"results": [RELEASE]},
        }
        yield gateway


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (("hardware",), "cpu\tCPU\ngpu-t4\tNvidia T4 GPU\n"),
        (("deployments", "list"), "me/prod\t1\t2\tme/mine\tcpu\t0-3\tloading\n"),
        (("deployments", "releases", "prod"), f"2\t{V}\tcpu\t0-3\t2026-11-23T12:00:00Z\n"),
        (("deployments", "update", "me/prod", "--max-instances", 3), "release 2; 1 serves until it is warm\n"),
        (("deployments", "delete", "prod", "--yes"), "deleted prod\n"),
    ],
)
def test_what_is_printed(gateway: FakeGateway, words: tuple[object, ...], printed: str) -> None:
    said = samovar(gateway, *words)
    assert (said.stdout, said.stderr, said.returncode) == (printed, "", 0)


def test_a_model_is_deployed_at_its_latest_version(gateway: FakeGateway) -> None:
    said = samovar(gateway, "deployments", "create", "prod", "me/mine", "--max-instances", 3)
    assert (said.returncode, said.stderr) == (1, "samovar: say which --hardware: cpu, gpu-t4\n")
    gateway.more["GET", "/v1/hardware"] = [{"sku": "cpu", "name": "CPU"}]
    said = samovar(gateway, "deployments", "create", "prod", "me/mine", "--max-instances", 3)
    assert (said.stdout, said.stderr) == ("me/prod\n", "")
    configured = {"hardware": "cpu", "min_instances": 0, "max_instances": 3}
    assert gateway.bodies["POST", "/v1/deployments"] == {"name": "prod", "model": "me/mine", "version": V} | configured


def test_only_what_is_given_is_changed(gateway: FakeGateway) -> None:
    samovar(gateway, "deployments", "update", "prod", "--min-instances", 0, "--hardware", "gpu-t4")
    assert gateway.bodies["PATCH", AT] == {"hardware": "gpu-t4", "min_instances": 0}
    said = samovar(gateway, "deployments", "update", "prod")
    assert (said.returncode, said.stderr.startswith("samovar: nothing to change")) == (1, True)


def test_a_release_to_go_back_to_may_be_named(gateway: FakeGateway) -> None:
    samovar(gateway, "deployments", "rollback", "prod")
    assert gateway.bodies["POST", f"{AT}/rollback"] == {}
    samovar(gateway, "deployments", "rollback", "prod", "--to", 1)
    assert gateway.bodies["POST", f"{AT}/rollback"] == {"number": 1}
