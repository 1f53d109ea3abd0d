"""/models: list and get, their versions, and predictions of their latest version."""

from typing import Final

from litestar import Response, Router, delete, get, post
from litestar.params import FromPath

from gateway.call import Answer, AnyRequest, answer, caller, cursor, paged, parts, read, views
from gateway.catalog import Model, Version, as_version
from gateway.errors import BadRequest, NotFound, UnknownVersion
from gateway.pushes import logs
from gateway.routes.operations import ModelsOperation, RunOperation
from gateway.routes.predictions import run
from gateway.store.models import SORTED_BY
from gateway.validation import Body
from gateway.views import version_view

PAGE: Final = 25


@get("/models", operation_id="models.list", operation_class=ModelsOperation)
async def page(request: AnyRequest) -> Response[bytes]:
    """Public models, those with the newest versions first."""
    await caller(request)
    query = request.query_params
    sort_by = query.get("sort_by", "latest_version_created_at")
    if sort_by not in SORTED_BY:
        raise BadRequest(f"sort_by: must be one of {', '.join(SORTED_BY)}.")
    direction = query.get("sort_direction", "desc")
    if direction not in {"desc", "asc"}:
        raise BadRequest("sort_direction: must be desc or asc.")
    found = await parts(request).models.page(sort_by, descending=direction == "desc", cursor=cursor(request), size=PAGE)
    view = views(request)
    return paged(request, found, [view.model(model, await _latest(request, model)) for model in found.rows])


@get("/models/{model_owner:str}/{model_name:str}", operation_id="models.get")
async def show(request: AnyRequest, model_owner: FromPath[str], model_name: FromPath[str]) -> Response[bytes]:
    await caller(request)
    model = await _model(request, model_owner, model_name)
    return answer(views(request).model(model, await _latest(request, model)))


@get("/models/{model_owner:str}/{model_name:str}/readme", operation_id="models.readme.get")
async def readme(request: AnyRequest, model_owner: FromPath[str], model_name: FromPath[str]) -> Response[str]:
    """Markdown."""
    await caller(request)
    model = await _model(request, model_owner, model_name)
    if not model.readme:
        raise NotFound
    return Response(model.readme, media_type="text/plain")


@get("/models/{model_owner:str}/{model_name:str}/versions", operation_id="models.versions.list")
async def versions(request: AnyRequest, model_owner: FromPath[str], model_name: FromPath[str]) -> Response[bytes]:
    """Newest first."""
    await caller(request)
    model = await _model(request, model_owner, model_name)
    found = await parts(request).models.versions(model.owner, model.name, cursor(request), PAGE)
    return paged(request, found, [version_view(as_version(row)) for row in found.rows])


@get("/models/{model_owner:str}/{model_name:str}/versions/{version_id:str}", operation_id="models.versions.get")
async def version(
    request: AnyRequest, model_owner: FromPath[str], model_name: FromPath[str], version_id: FromPath[str]
) -> Response[bytes]:
    await caller(request)
    return answer(version_view(await _version(request, model_owner, model_name, version_id)))


@get("/models/{model_owner:str}/{model_name:str}/versions/{version_id:str}/logs", operation_id="models.versions.logs")
async def version_logs(
    request: AnyRequest, model_owner: FromPath[str], model_name: FromPath[str], version_id: FromPath[str]
) -> Response[str]:
    """What was said when it was built and set up."""
    await caller(request)
    found = await _version(request, model_owner, model_name, version_id)
    kept = await parts(request).models.logs(found.id)
    if kept is None:
        raise NotFound("It was not pushed: a runner has it in a folder of its own, and logs its set-up itself.")
    return Response(logs(*kept), media_type="text/plain")


@delete(
    "/models/{model_owner:str}/{model_name:str}/versions/{version_id:str}",
    operation_id="models.versions.delete",
    status_code=202,
)
async def remove_version(
    request: AnyRequest, model_owner: FromPath[str], model_name: FromPath[str], version_id: FromPath[str]
) -> Response[bytes]:
    """Its predictions that have not ended are canceled; the model's newest version that is left becomes its latest."""
    account = await caller(request, "write")
    here = parts(request)
    await here.pushes.allow(account, model_owner)
    await here.deleting.version(await _version(request, model_owner, model_name, version_id))
    return Answer(b"", 202, {})


@delete("/models/{model_owner:str}/{model_name:str}", operation_id="models.delete", status_code=204)
async def remove(request: AnyRequest, model_owner: FromPath[str], model_name: FromPath[str]) -> None:
    """With all its versions."""
    account = await caller(request, "write")
    here = parts(request)
    await here.pushes.allow(account, model_owner)
    model = await _model(request, model_owner, model_name)
    await here.deleting.model(model.owner, model.name)


@post(
    "/models/{model_owner:str}/{model_name:str}/predictions",
    operation_id="models.predictions.create",
    operation_class=RunOperation,
)
async def create(request: AnyRequest, model_owner: FromPath[str], model_name: FromPath[str]) -> Response[bytes]:
    """Run the model's latest version."""
    account = await caller(request, "predict", create=True)
    body = await read(request, Body)
    return await run(request, account, await parts(request).catalog.latest(model_owner, model_name, account), body)


router = Router(
    "/",
    route_handlers=[page, show, readme, versions, version, version_logs, create, remove, remove_version],
    tags=["models"],
)


async def _version(request: AnyRequest, owner: str, name: str, id: str) -> Version:
    """Raises `NotFound`."""
    try:
        found = await parts(request).catalog.version(id)
    except UnknownVersion as error:
        raise NotFound from error
    if (found.owner, found.name) != (owner, name):
        raise NotFound
    return found


async def _model(request: AnyRequest, owner: str, name: str) -> Model:
    """Raises `NotFound`."""
    model = await parts(request).models.model(owner, name)
    if model is None:
        raise NotFound
    return model


async def _latest(request: AnyRequest, model: Model) -> Version | None:
    return await parts(request).catalog.version(model.latest_version) if model.latest_version else None
