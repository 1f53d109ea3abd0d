"""/models/…/versions: list, get, delete, and what was said when they were made."""

from typing import Final

from litestar import Response, Router, delete, get
from litestar.params import FromPath

from gateway.catalog.catalog import as_version
from gateway.errors import NotFound
from gateway.http.context import Answer, AnyRequest, answer, caller, cursor, paged, parts
from gateway.http.model_lookup import find, find_version, own
from gateway.openapi.operations import PageOperation
from gateway.versions.pushes import logs
from gateway.views.resources import version_view

PAGE: Final = 25


@get(
    "/models/{model_owner:str}/{model_name:str}/versions",
    operation_id="models.versions.list",
    operation_class=PageOperation,
)
async def versions(request: AnyRequest, model_owner: FromPath[str], model_name: FromPath[str]) -> Response[bytes]:
    """Newest first."""
    account = await caller(request)
    model = await find(request, account, model_owner, model_name)
    found = await parts(request).models.versions(model.owner, model.name, cursor(request), PAGE)
    return paged(request, found, [version_view(as_version(row)) for row in found.rows])


@get("/models/{model_owner:str}/{model_name:str}/versions/{version_id:str}", operation_id="models.versions.get")
async def version(
    request: AnyRequest, model_owner: FromPath[str], model_name: FromPath[str], version_id: FromPath[str]
) -> Response[bytes]:
    account = await caller(request)
    return answer(version_view(await find_version(request, account, model_owner, model_name, version_id)))


@get("/models/{model_owner:str}/{model_name:str}/versions/{version_id:str}/logs", operation_id="models.versions.logs")
async def version_logs(
    request: AnyRequest, model_owner: FromPath[str], model_name: FromPath[str], version_id: FromPath[str]
) -> Response[str]:
    """What was said when it was built and set up."""
    account = await caller(request)
    found = await find_version(request, account, model_owner, model_name, version_id)
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
    """Its predictions that have not ended are canceled; the model's newest version that is left becomes its latest.

    Refused while a deployment serves it, and while versions are there that were trained from it.
    """
    account = await caller(request, "write")
    await own(request, account, model_owner, model_name)
    found = await find_version(request, account, model_owner, model_name, version_id)
    await parts(request).deleting.version(found)
    return Answer(b"", 202, {})


router = Router("/", route_handlers=[versions, version, version_logs, remove_version], tags=["models"])
