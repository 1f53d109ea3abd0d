"""/deployments: versions kept ready on hardware of the owner's choice, under a name that stays; and /hardware."""

import re
from typing import Annotated, Final

from litestar import Response, Router, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import UNSET, Meta, Struct, structs

from gateway.catalog.catalog import Catalog, Version
from gateway.errors import NotFound, Unprocessable, invalid_field
from gateway.fleet.deployments import DeploymentController
from gateway.fleet.hardware import hardware_kinds
from gateway.fleet.registry import FleetRegistry
from gateway.http import asgi
from gateway.http.asgi import AnyRequest, get_services, json_response
from gateway.http.context import authenticate, page_cursor, page_response, read_json
from gateway.openapi.operations import create_prediction, operation, page_of
from gateway.predictions.request import PredictionBody
from gateway.routes.predictions import submit_prediction
from gateway.settings import Settings
from gateway.store.accounts import Account
from gateway.store.deployments import (
    Deployment,
    DeploymentStore,
    InvalidInstanceLimits,
    Release,
    ReleaseAuthor,
    ReleaseChange,
)
from gateway.times import format_rfc3339
from gateway.views.resources import ConfigurationView, DeploymentView, HardwareView, ReleaseView, StateView

NAME_PATTERN: Final = re.compile(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*")
MAX_NAME_LENGTH: Final = 64

MinInstances = Annotated[int, Meta(ge=0, le=5)]
MaxInstances = Annotated[int, Meta(ge=0, le=20)]


class NewDeployment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a request that creates a deployment."""

    name: str
    model: str
    version: str
    """A version of the deployment's model: 64 hex digits."""
    hardware: str
    """A SKU that `/hardware` lists."""
    min_instances: MinInstances
    max_instances: MaxInstances


class DeploymentChanges(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a request that changes a deployment; what is left out stays as it is."""

    version: str | None = None
    """A version of the deployment's model: 64 hex digits."""
    hardware: str | None = None
    """A SKU that `/hardware` lists."""
    min_instances: MinInstances | None = None
    max_instances: MaxInstances | None = None


class Rollback(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a request that rolls a deployment back; without a number, to the release before the newest."""

    number: Annotated[int, Meta(ge=1, le=2_000_000_000)] | None = None


@get("/deployments", operation_id="deployments.list", operation_class=page_of(DeploymentView))
async def list_deployments(
    request: AnyRequest,
    fleet: NamedDependency[FleetRegistry],
    deployment_store: NamedDependency[DeploymentStore],
    settings: NamedDependency[Settings],
) -> Response[bytes]:
    """List your deployments, newest first."""
    account = await authenticate(request)
    page = await deployment_store.page(account.id, page_cursor(request), settings.page_size)
    return page_response(request, page, [deployment_view(each, fleet) for each in page.rows])


@post(
    "/deployments",
    operation_id="deployments.create",
    operation_class=operation(DeploymentView, body=NewDeployment),
    status_code=200,
)
async def create_deployment(
    request: AnyRequest,
    catalog: NamedDependency[Catalog],
    fleet: NamedDependency[FleetRegistry],
    deployment_store: NamedDependency[DeploymentStore],
    deployments: NamedDependency[DeploymentController],
    settings: NamedDependency[Settings],
) -> Response[bytes]:
    """Create a deployment.

    Its first release takes predictions at once.
    """
    account = await authenticate(request, "write")
    body = await read_json(request, NewDeployment)
    if len(body.name) > MAX_NAME_LENGTH or not NAME_PATTERN.fullmatch(body.name):
        raise invalid_field(
            "name", "invalid", f"takes up to {MAX_NAME_LENGTH} lower-case letters and digits, with . _ - between them"
        )
    version = await _resolve_version(account, body.version, body.model, catalog)
    _check_hardware(body.hardware, fleet, settings)
    if body.max_instances < body.min_instances:
        raise invalid_field("max_instances", "invalid", "must not be less than min_instances")
    release = ReleaseChange(
        version=version.id,
        hardware=body.hardware,
        min_instances=body.min_instances,
        max_instances=body.max_instances,
    )
    if not await deployment_store.create(account.id, account.username, body.name, release, version.model):
        raise invalid_field(
            "name", "invalid", f"{account.username}/{body.name} is there already; change it, or take another name"
        )
    deployments.on_change()
    deployment = await _find(account, account.username, body.name, deployment_store)
    return json_response(deployment_view(deployment, fleet))


@get(
    "/deployments/{deployment_owner:str}/{deployment_name:str}",
    operation_id="deployments.get",
    operation_class=operation(DeploymentView),
)
async def get_deployment(
    request: AnyRequest,
    deployment_owner: FromPath[str],
    deployment_name: FromPath[str],
    fleet: NamedDependency[FleetRegistry],
    deployment_store: NamedDependency[DeploymentStore],
) -> Response[bytes]:
    """Get a deployment.

    `current_release` is the newest one; `serving` says which release takes predictions, and its state.
    """
    account = await authenticate(request)
    deployment = await _find(account, deployment_owner, deployment_name, deployment_store)
    return json_response(deployment_view(deployment, fleet))


@patch(
    "/deployments/{deployment_owner:str}/{deployment_name:str}",
    operation_id="deployments.update",
    operation_class=operation(DeploymentView, body=DeploymentChanges),
)
async def update_deployment(
    request: AnyRequest,
    deployment_owner: FromPath[str],
    deployment_name: FromPath[str],
    catalog: NamedDependency[Catalog],
    fleet: NamedDependency[FleetRegistry],
    deployment_store: NamedDependency[DeploymentStore],
    deployments: NamedDependency[DeploymentController],
    settings: NamedDependency[Settings],
) -> Response[bytes]:
    """Update a deployment with a new release.

    The release is like the newest one but for the fields that are given. It takes predictions once it is warm.
    """
    account = await authenticate(request, "write")
    body = await read_json(request, DeploymentChanges)
    deployment = await _find(account, deployment_owner, deployment_name, deployment_store)
    change = ReleaseChange(**structs.asdict(body))
    if change.version is not None:
        version = await _resolve_version(account, change.version, deployment.newest.model, catalog)
        change = structs.replace(change, version=version.id)
    if change.hardware is not None:
        _check_hardware(change.hardware, fleet, settings)
    if change != ReleaseChange():
        await _create_release(account, deployment, change, deployment_store)
        deployments.on_change()
    deployment = await _find(account, deployment_owner, deployment_name, deployment_store)
    return json_response(deployment_view(deployment, fleet))


@delete(
    "/deployments/{deployment_owner:str}/{deployment_name:str}",
    operation_id="deployments.delete",
    operation_class=operation(refuses=(422,)),
    status_code=204,
)
async def delete_deployment(
    request: AnyRequest,
    deployment_owner: FromPath[str],
    deployment_name: FromPath[str],
    deployment_store: NamedDependency[DeploymentStore],
    deployments: NamedDependency[DeploymentController],
) -> None:
    """Delete a deployment.

    This is refused while predictions of it wait or run.
    """
    account = await authenticate(request, "write")
    deployment = await _find(account, deployment_owner, deployment_name, deployment_store)
    if not await deployments.delete(deployment.id):
        raise Unprocessable(
            f"Predictions of {deployment.full_name} wait or run. Cancel them or let them end; then delete it."
        )


@post(
    "/deployments/{deployment_owner:str}/{deployment_name:str}/predictions",
    operation_id="deployments.predictions.create",
    operation_class=create_prediction(),
)
async def predict(
    request: AnyRequest, deployment_owner: FromPath[str], deployment_name: FromPath[str]
) -> Response[bytes]:
    """Create a prediction of what a deployment serves."""
    account = await authenticate(request, "predict", create=True)
    body = await read_json(request, PredictionBody)
    services = get_services(request)
    deployment = await services.runners.deployments.find(account.id, deployment_owner, deployment_name)
    if deployment is None:
        raise NotFound
    serving = deployment.serving
    version = await services.models.catalog.resolve(f"{serving.model}:{serving.version}", account)
    version = structs.replace(version, pool=serving.pool)
    return await submit_prediction(request, account, version, body, deployment=deployment.full_name)


@get(
    "/deployments/{deployment_owner:str}/{deployment_name:str}/releases",
    operation_id="deployments.releases.list",
    operation_class=page_of(ReleaseView),
)
async def list_releases(
    request: AnyRequest,
    deployment_owner: FromPath[str],
    deployment_name: FromPath[str],
    deployment_store: NamedDependency[DeploymentStore],
    settings: NamedDependency[Settings],
) -> Response[bytes]:
    """List the releases of a deployment, newest first.

    Only Samovar has this; Replicate's API does not.
    """
    account = await authenticate(request)
    deployment = await _find(account, deployment_owner, deployment_name, deployment_store)
    page = await deployment_store.release_page(deployment.id, page_cursor(request), settings.page_size)
    return page_response(request, page, [release_view(each) for each in page.rows])


@post(
    "/deployments/{deployment_owner:str}/{deployment_name:str}/rollback",
    operation_id="deployments.rollback",
    operation_class=operation(DeploymentView, body=Rollback, is_body_required=False),
    status_code=200,
)
async def roll_back(
    request: AnyRequest,
    deployment_owner: FromPath[str],
    deployment_name: FromPath[str],
    fleet: NamedDependency[FleetRegistry],
    deployment_store: NamedDependency[DeploymentStore],
    deployments: NamedDependency[DeploymentController],
) -> Response[bytes]:
    """Roll a deployment back to an earlier release.

    This makes a new release that is like the one before the newest, or like the one with the given number.
    Only Samovar has this; Replicate's API does not.
    """
    account = await authenticate(request, "write")
    body = await read_json(request, Rollback) if await asgi.read_body(request) else Rollback()
    deployment = await _find(account, deployment_owner, deployment_name, deployment_store)
    number = body.number or deployment.newest.number - 1
    await _create_release(account, deployment, ReleaseChange(), deployment_store, like=number)
    deployments.on_change()
    deployment = await _find(account, deployment_owner, deployment_name, deployment_store)
    return json_response(deployment_view(deployment, fleet))


@get("/hardware", operation_id="hardware.list", operation_class=operation(list[HardwareView]))
async def list_hardware(
    request: AnyRequest, fleet: NamedDependency[FleetRegistry], settings: NamedDependency[Settings]
) -> Response[bytes]:
    """List the hardware that deployments can ask for.

    These are the kinds of the runners that are present, and those in the settings.
    """
    await authenticate(request)
    return json_response(
        [
            HardwareView(sku=sku, name=name)
            for sku, name in hardware_kinds(settings.hardware_kinds, fleet.list_runners()).items()
        ]
    )


router = Router(
    "/",
    route_handlers=[
        list_deployments,
        create_deployment,
        get_deployment,
        update_deployment,
        delete_deployment,
        predict,
        list_releases,
        roll_back,
        list_hardware,
    ],
    tags=["deployments"],
)


def deployment_view(deployment: Deployment, fleet: FleetRegistry) -> DeploymentView:
    """Return a deployment as clients see it."""
    newest, serving = deployment.newest, deployment.serving
    return DeploymentView(
        owner=deployment.owner,
        name=deployment.name,
        current_release=release_view(newest),
        serving=_state_view(serving, fleet),
        upcoming=_state_view(newest, fleet) if newest.number != serving.number else UNSET,
    )


def release_view(release: Release) -> ReleaseView:
    """Return a release as clients see it."""
    return ReleaseView(
        number=release.number,
        model=release.model,
        version=release.version,
        created_at=format_rfc3339(release.created_at),
        created_by=_author(release.created_by),
        configuration=ConfigurationView(
            hardware=release.hardware, min_instances=release.min_instances, max_instances=release.max_instances
        ),
    )


def _author(account: ReleaseAuthor | None) -> dict[str, str] | None:
    return {name: value for name, value in structs.asdict(account).items() if value} if account else None


def _state_view(release: Release, fleet: FleetRegistry) -> StateView:
    warm = fleet.is_warm(release.service)
    starting = None if warm else fleet.release_reason(release.pool, release.version, release.hardware)
    return StateView(
        number=release.number,
        version=release.version,
        warm=warm,
        starting=starting or UNSET,
        error=(None if warm else fleet.failure(release.service)) or UNSET,
    )


async def _find(account: Account, owner: str, name: str, deployment_store: DeploymentStore) -> Deployment:
    """Return a deployment of this account. Raises `NotFound`, also for one of somebody else."""
    deployment = await deployment_store.get(account.id, owner, name)
    if deployment is None:
        raise NotFound
    return deployment


async def _resolve_version(account: Account, reference: str, model: str, catalog: Catalog) -> Version:
    """Return a version of this model. Raises `UnknownVersion` or `InvalidInput`."""
    version = await catalog.resolve(reference, account)
    if version.model != model:
        raise invalid_field("version", "invalid", f"is of {version.model}, not of the deployment's model")
    return version


async def _create_release(
    account: Account,
    deployment: Deployment,
    change: ReleaseChange,
    deployment_store: DeploymentStore,
    *,
    like: int | None = None,
) -> None:
    """Create a release that differs by `change` from the newest one, or from the one with the number `like`."""
    try:
        if not await deployment_store.create_release(deployment.id, account.id, change, like):
            raise NotFound
    except InvalidInstanceLimits as error:
        raise invalid_field("max_instances", "invalid", "must not be less than min_instances") from error
    except LookupError as error:
        description = f"there is no release {like}; `releases` lists those that are"
        raise invalid_field("number", "invalid", description) from error


def _check_hardware(sku: str, fleet: FleetRegistry, settings: Settings) -> None:
    known = hardware_kinds(settings.hardware_kinds, fleet.list_runners())
    if sku not in known:
        raise invalid_field("hardware", "invalid", f"is not known here; there is {', '.join(known) or 'none'}")
