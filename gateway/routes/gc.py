"""/gc: what could be freed in the file store, and freeing it."""

from litestar import Response, Router, get, post
from litestar.di import NamedDependency

from gateway.cleanup.garbage import Found, GarbageCollector
from gateway.http.asgi import AnyRequest, json_response
from gateway.http.context import authenticate
from gateway.openapi.operations import operation


@get("/gc", operation_id="gc.survey", operation_class=operation(Found, refuses=(403,)))
async def survey_garbage(request: AnyRequest, garbage_collector: NamedDependency[GarbageCollector]) -> Response[bytes]:
    """List the files that nothing uses any more.

    Each comes with its size and the reason; none is younger than an hour.
    """
    await authenticate(request, "admin")
    return json_response(await garbage_collector.find())


@post("/gc", operation_id="gc.free", operation_class=operation(Found), status_code=200)
async def free_garbage(request: AnyRequest, garbage_collector: NamedDependency[GarbageCollector]) -> Response[bytes]:
    """Delete the files that nothing uses any more, and list them."""
    await authenticate(request, "admin")
    return json_response(await garbage_collector.collect())


router = Router("/", route_handlers=[survey_garbage, free_garbage], tags=["operation"])
