"""Deployments by `replicate` 1.0.7 from PyPI, unmodified."""

import time

import pytest
from replicate.client import Client
from replicate.deployment import Deployment
from replicate.exceptions import ReplicateError

from tests.live import TIMEOUT

pytestmark = pytest.mark.slow


@pytest.fixture
def version(replicate: Client) -> str:
    """The version of hello-world, once it exists."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        try:
            version_resource = replicate.models.get("samovar/hello-world").latest_version
        except ReplicateError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            assert version_resource is not None
            return version_resource.id


def deploy(client: Client, name: str, version: str) -> Deployment:
    kinds = [each.sku for each in client.hardware.list()]
    hardware = next((sku for sku in kinds if sku != "cpu"), "cpu")  # that of the only runner
    return client.deployments.create(
        name=name, model="samovar/hello-world", version=version, hardware=hardware, min_instances=0, max_instances=1
    )


def delete(client: Client, name: str) -> None:
    assert client.deployments.delete(client.accounts.current().username, name)


def test_a_deployment_is_created_used_changed_and_deleted(replicate: Client, version: str) -> None:
    created = deploy(replicate, "greeter", version)
    assert (created.name, release_of(created).number, release_of(created).version) == ("greeter", 1, version)
    prediction = replicate.deployments.predictions.create(f"{created.owner}/greeter", {"text": "Ann"})
    prediction.wait()
    assert (prediction.status, prediction.output, prediction.version) == ("succeeded", "hello Ann", version)

    changed = replicate.deployments.update(created.owner, "greeter", max_instances=2)
    assert (release_of(changed).number, release_of(changed).configuration.max_instances) == (2, 2)
    assert "greeter" in [each.name for each in replicate.deployments.list().results]
    assert release_of(replicate.deployments.get(f"{created.owner}/greeter")).number == 2
    delete(replicate, "greeter")
    assert "greeter" not in [each.name for each in replicate.deployments.list().results]


async def test_async_predictions_of_a_deployment_run(replicate: Client, version: str) -> None:
    created = deploy(replicate, "waiter", version)
    deployment = await replicate.deployments.async_get(f"{created.owner}/waiter")
    prediction = await deployment.predictions.async_create({"text": "Bob"})
    deadline = time.monotonic() + TIMEOUT
    while prediction.status not in ("succeeded", "failed", "canceled"):
        assert time.monotonic() < deadline
        await prediction.async_reload()
    assert prediction.output == "hello Bob"
    delete(replicate, "waiter")


def release_of(deployment: Deployment) -> Deployment.Release:
    assert deployment.current_release is not None
    return deployment.current_release
