"""/deployments: a version that is kept ready on hardware of one's choice, under a name that stays; and /hardware."""

import re
from typing import Annotated, Final

from litestar import Response, Router, delete, get, patch, post
from litestar.params import FromPath
from msgspec import UNSET, Meta, Struct, structs

from gateway.catalog.catalog import Version
from gateway.errors import NotFound, Unprocessable, wrong
from gateway.fleet.hardware import kinds
from gateway.fleet.registry import Fleet
from gateway.http import context
from gateway.http.context import AnyRequest, answer, caller, cursor, paged, parts, read
from gateway.openapi.operations import PageOperation, RunOperation
from gateway.predictions.request import Body
from gateway.routes.deployment_operations import ChangeOperation, MakeOperation, RollbackOperation
from gateway.routes.predictions import run
from gateway.store.accounts import Account
from gateway.store.deployments import By, Change, Deployment, Release, TooFew
from gateway.times import rfc3339
from gateway.views.resources import ConfigurationView, DeploymentView, HardwareView, ReleaseView, StateView

NAME: Final = re.compile(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*")
LONGEST: Final = 64

Least = Annotated[int, Meta(ge=0, le=5)]
Most = Annotated[int, Meta(ge=0, le=20)]


class Made(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    model: str
    version: str
    hardware: str
    min_instances: Least
    max_instances: Most


class Changed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: str | None = None
    hardware: str | None = None
    min_instances: Least | None = None
    max_instances: Most | None = None


class Rollback(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    number: Annotated[int, Meta(ge=1, le=2_000_000_000)] | None = None


@get("/deployments", operation_id="deployments.list", operation_class=PageOperation)
async def page(request: AnyRequest) -> Response[bytes]:
    """Yours, newest first."""
    account = await caller(request)
    here = parts(request)
    found = await here.deployments.page(account.id, cursor(request), here.settings.page_size)
    return paged(request, found, [view(each, here.fleet) for each in found.rows])


@post("/deployments", operation_id="deployments.create", operation_class=MakeOperation, status_code=200)
async def create(request: AnyRequest) -> Response[bytes]:
    """A new deployment; its first release takes predictions at once."""
    account = await caller(request, "write")
    body = await read(request, Made)
    if len(body.name) > LONGEST or not NAME.fullmatch(body.name):
        raise wrong("name", "invalid", f"takes up to {LONGEST} lower-case letters and digits, with . _ - between them")
    version = await _version(request, account, body.version, body.model)
    _known_hardware(request, body.hardware)
    _enough(body.min_instances, body.max_instances)
    release = Change(
        version=version.id,
        hardware=body.hardware,
        min_instances=body.min_instances,
        max_instances=body.max_instances,
    )
    here = parts(request)
    if not await here.deployments.create(account.id, account.username, body.name, release, version.model):
        raise wrong(
            "name", "invalid", f"{account.username}/{body.name} is there already; change it, or take another name"
        )
    here.deploying.changed()
    return await _shown(request, account, account.username, body.name)


@get("/deployments/{deployment_owner:str}/{deployment_name:str}", operation_id="deployments.get")
async def show(request: AnyRequest, deployment_owner: FromPath[str], deployment_name: FromPath[str]) -> Response[bytes]:
    """`current_release` is the newest one; `serving` says which one takes predictions, and how it stands."""
    account = await caller(request)
    return await _shown(request, account, deployment_owner, deployment_name)


@patch(
    "/deployments/{deployment_owner:str}/{deployment_name:str}",
    operation_id="deployments.update",
    operation_class=ChangeOperation,
)
async def change(
    request: AnyRequest, deployment_owner: FromPath[str], deployment_name: FromPath[str]
) -> Response[bytes]:
    """A new release, like the newest one but for what is given. It takes predictions once it is warm."""
    account = await caller(request, "write")
    body = await read(request, Changed)
    found = await _found(request, account, deployment_owner, deployment_name)
    given = Change(**structs.asdict(body))
    if given.version is not None:
        version = await _version(request, account, given.version, found.newest.model)
        given = structs.replace(given, version=version.id)
    if given.hardware is not None:
        _known_hardware(request, given.hardware)
    if given != Change():
        await _release(request, account, found, given)
    return await _shown(request, account, deployment_owner, deployment_name)


@delete("/deployments/{deployment_owner:str}/{deployment_name:str}", operation_id="deployments.delete", status_code=204)
async def remove(request: AnyRequest, deployment_owner: FromPath[str], deployment_name: FromPath[str]) -> None:
    """Refused while predictions of it wait or run."""
    account = await caller(request, "write")
    found = await _found(request, account, deployment_owner, deployment_name)
    if not await parts(request).deploying.delete(found.id):
        raise Unprocessable(
            f"Predictions of {found.full_name} wait or run. Cancel them or let them end; then delete it."
        )


@post(
    "/deployments/{deployment_owner:str}/{deployment_name:str}/predictions",
    operation_id="deployments.predictions.create",
    operation_class=RunOperation,
)
async def predict(
    request: AnyRequest, deployment_owner: FromPath[str], deployment_name: FromPath[str]
) -> Response[bytes]:
    """Run what the deployment serves."""
    account = await caller(request, "predict", create=True)
    body = await read(request, Body)
    here = parts(request)
    found = await here.deploying.find(account.id, deployment_owner, deployment_name)
    if found is None:
        raise NotFound
    serving = found.serving
    version = await here.catalog.refer(f"{serving.model}:{serving.version}", account)
    released = structs.replace(version, pool=serving.pool)
    return await run(request, account, released, body, deployment=found.full_name)


@get(
    "/deployments/{deployment_owner:str}/{deployment_name:str}/releases",
    operation_id="deployments.releases.list",
    operation_class=PageOperation,
)
async def releases(
    request: AnyRequest, deployment_owner: FromPath[str], deployment_name: FromPath[str]
) -> Response[bytes]:
    """Newest first. Of Samovar alone."""
    account = await caller(request)
    found = await _found(request, account, deployment_owner, deployment_name)
    here = parts(request)
    listed = await here.deployments.releases(found.id, cursor(request), here.settings.page_size)
    return paged(request, listed, [release_view(each) for each in listed.rows])


@post(
    "/deployments/{deployment_owner:str}/{deployment_name:str}/rollback",
    operation_id="deployments.rollback",
    operation_class=RollbackOperation,
    status_code=200,
)
async def rollback(
    request: AnyRequest, deployment_owner: FromPath[str], deployment_name: FromPath[str]
) -> Response[bytes]:
    """A new release that is like an earlier one: the one before the newest, unless a number is given.

    Of Samovar alone.
    """
    account = await caller(request, "write")
    body = await read(request, Rollback) if await context.body(request) else Rollback()
    found = await _found(request, account, deployment_owner, deployment_name)
    number = body.number or found.newest.number - 1
    await _release(request, account, found, Change(), number)
    return await _shown(request, account, deployment_owner, deployment_name)


@get("/hardware", operation_id="hardware.list")
async def hardware(request: AnyRequest) -> Response[bytes]:
    """What deployments can ask for: the kinds of the runners that are there, and those that are configured."""
    await caller(request)
    return answer([HardwareView(sku=sku, name=name) for sku, name in _kinds(request).items()])


router = Router(
    "/",
    route_handlers=[page, create, show, change, remove, predict, releases, rollback, hardware],
    tags=["deployments"],
)


def view(deployment: Deployment, fleet: Fleet) -> DeploymentView:
    newest, serving = deployment.newest, deployment.serving
    return DeploymentView(
        owner=deployment.owner,
        name=deployment.name,
        current_release=release_view(newest),
        serving=_state(serving, fleet),
        upcoming=_state(newest, fleet) if newest.number != serving.number else UNSET,
    )


def release_view(release: Release) -> ReleaseView:
    return ReleaseView(
        number=release.number,
        model=release.model,
        version=release.version,
        created_at=rfc3339(release.created_at),
        created_by=_by(release.created_by),
        configuration=ConfigurationView(
            hardware=release.hardware, min_instances=release.min_instances, max_instances=release.max_instances
        ),
    )


def _by(account: By | None) -> dict[str, str] | None:
    return {name: value for name, value in structs.asdict(account).items() if value} if account else None


def _state(release: Release, fleet: Fleet) -> StateView:
    warm = fleet.warm(release.service)
    starting = None if warm else fleet.standing(release.pool, release.version, release.hardware)
    return StateView(
        number=release.number,
        version=release.version,
        warm=warm,
        starting=starting or UNSET,
        error=(None if warm else fleet.failed(release.service)) or UNSET,
    )


async def _shown(request: AnyRequest, account: Account, owner: str, name: str) -> Response[bytes]:
    return answer(view(await _found(request, account, owner, name), parts(request).fleet))


async def _found(request: AnyRequest, account: Account, owner: str, name: str) -> Deployment:
    """Raises `NotFound`, also for somebody else's."""
    found = await parts(request).deployments.get(account.id, owner, name)
    if found is None:
        raise NotFound
    return found


async def _version(request: AnyRequest, account: Account, reference: str, model: str) -> Version:
    """Of that model. Raises `UnknownVersion` or `InvalidInput`."""
    version = await parts(request).catalog.refer(reference, account)
    if version.model != model:
        raise wrong("version", "invalid", f"is of {version.model}, not of the deployment's model")
    return version


async def _release(
    request: AnyRequest, account: Account, found: Deployment, change: Change, back: int | None = None
) -> None:
    here = parts(request)
    try:
        if not await here.deployments.release(found.id, account.id, change, back):
            raise NotFound
    except TooFew as error:
        raise wrong("max_instances", "invalid", "must not be less than min_instances") from error
    except LookupError as error:
        raise wrong("number", "invalid", f"there is no release {back}; `releases` lists those that are") from error
    here.deploying.changed()


def _kinds(request: AnyRequest) -> dict[str, str]:
    here = parts(request)
    return kinds(here.settings.hardware_kinds, here.fleet.present())


def _known_hardware(request: AnyRequest, sku: str) -> None:
    known = _kinds(request)
    if sku not in known:
        raise wrong("hardware", "invalid", f"is not known here; there is {', '.join(known) or 'none'}")


def _enough(least: int, most: int) -> None:
    if most < least:
        raise wrong("max_instances", "invalid", "must not be less than min_instances")
