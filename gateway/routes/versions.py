"""/models/…/versions: list, get, delete, and the logs of their builds."""

from typing import Final

from litestar import Response, Router, delete, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from gateway.catalog.catalog import as_version
from gateway.errors import NotFound
from gateway.http.asgi import AnyRequest, JsonResponse, json_response
from gateway.http.context import authenticate, page_cursor, page_response
from gateway.http.model_lookup import ModelLookup
from gateway.openapi.operations import TEXT, operation, page_of
from gateway.store.models import ModelStore
from gateway.versions.deletion import VersionDeleter
from gateway.versions.pushes import join_logs
from gateway.views.resources import VersionView, version_view

PAGE_SIZE: Final = 25


@get(
    "/models/{model_owner:str}/{model_name:str}/versions",
    operation_id="models.versions.list",
    operation_class=page_of(VersionView),
)
async def list_versions(
    request: AnyRequest,
    model_owner: FromPath[str],
    model_name: FromPath[str],
    model_store: NamedDependency[ModelStore],
    model_lookup: NamedDependency[ModelLookup],
) -> Response[bytes]:
    """List the versions of a model, newest first."""
    account = await authenticate(request)
    model = await model_lookup.find(account, model_owner, model_name)
    page = await model_store.version_page(model.owner, model.name, page_cursor(request), PAGE_SIZE)
    return page_response(request, page, [version_view(as_version(row)) for row in page.rows])


@get(
    "/models/{model_owner:str}/{model_name:str}/versions/{version_id:str}",
    operation_id="models.versions.get",
    operation_class=operation(VersionView),
)
async def get_version(
    request: AnyRequest,
    model_owner: FromPath[str],
    model_name: FromPath[str],
    version_id: FromPath[str],
    model_lookup: NamedDependency[ModelLookup],
) -> Response[bytes]:
    """Get a version of a model."""
    account = await authenticate(request)
    return json_response(version_view(await model_lookup.find_version(account, model_owner, model_name, version_id)))


@get(
    "/models/{model_owner:str}/{model_name:str}/versions/{version_id:str}/logs",
    operation_id="models.versions.logs",
    operation_class=operation(media=TEXT),
)
async def get_version_logs(
    request: AnyRequest,
    model_owner: FromPath[str],
    model_name: FromPath[str],
    version_id: FromPath[str],
    model_store: NamedDependency[ModelStore],
    model_lookup: NamedDependency[ModelLookup],
) -> Response[str]:
    """Get the logs of a version's build and setup."""
    account = await authenticate(request)
    version = await model_lookup.find_version(account, model_owner, model_name, version_id)
    build_logs = await model_store.version_logs(version.id)
    if build_logs is None:
        raise NotFound("It was not pushed: a runner has it in a folder of its own, and logs its set-up itself.")
    return Response(join_logs(*build_logs), media_type="text/plain")


@delete(
    "/models/{model_owner:str}/{model_name:str}/versions/{version_id:str}",
    operation_id="models.versions.delete",
    operation_class=operation(refuses=(422,)),
    status_code=202,
)
async def delete_version(
    request: AnyRequest,
    model_owner: FromPath[str],
    model_name: FromPath[str],
    version_id: FromPath[str],
    deletion: NamedDependency[VersionDeleter],
    model_lookup: NamedDependency[ModelLookup],
) -> Response[bytes]:
    """Delete a version of a model.

    Its predictions that have not ended are canceled; the newest version that is left becomes the model's latest.

    This is refused while a deployment serves the version, and while versions exist that were trained from it.
    """
    account = await authenticate(request, "write")
    await model_lookup.find_own(account, model_owner, model_name)
    version = await model_lookup.find_version(account, model_owner, model_name, version_id)
    await deletion.delete_version(version)
    return JsonResponse(b"", 202, {})


router = Router("/", route_handlers=[list_versions, get_version, get_version_logs, delete_version], tags=["models"])
