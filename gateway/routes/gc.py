"""/gc: what could be freed in the file store, and freeing it."""

from litestar import Response, Router, get, post

from gateway.http.context import AnyRequest, answer, caller, parts


@get("/gc", operation_id="gc.survey")
async def survey(request: AnyRequest) -> Response[bytes]:
    """Files that nothing uses any more, each with its size and the reason; none is younger than an hour."""
    await caller(request, "admin")
    return answer(await parts(request).gc.survey())


@post("/gc", operation_id="gc.free", status_code=200)
async def free(request: AnyRequest) -> Response[bytes]:
    """Remove them, and say which."""
    await caller(request, "admin")
    return answer(await parts(request).gc.free())


router = Router("/", route_handlers=[survey, free], tags=["operation"])
