"""/pushes, and the versions that they make: push, get, cancel, logs."""

from collections.abc import AsyncGenerator

from litestar import Response, Router, get, post
from litestar.exceptions import HTTPException
from litestar.params import FromPath

from gateway.catalog.catalog import Version
from gateway.errors import BadRequest, BodyTooLarge, Forbidden, NotFound, UnsupportedMedia
from gateway.http.context import AnyRequest, answer, caller, header, parts, views
from gateway.http.model_lookup import refuse_hidden
from gateway.openapi.operations import PushOperation
from gateway.routes.predictions import canceled
from gateway.store.accounts import Account
from gateway.versions.pushes import check_name
from gateway.views.resources import version_view
from schemas.prediction import Prediction


@post(
    "/models/{model_owner:str}/{model_name:str}/versions",
    operation_id="models.versions.push",
    operation_class=PushOperation,
    request_max_body_size=None,
)
async def push(request: AnyRequest, model_owner: FromPath[str], model_name: FromPath[str]) -> Response[bytes]:
    """Make a version of a folder, given as a tar archive. 200: it is there, or on its way, already."""
    account = await caller(request, "write")
    here = parts(request)
    check_name("owner", model_owner)
    check_name("name", model_name)
    await here.pushes.allow(account, model_owner)
    await refuse_hidden(request, account, model_owner, model_name)
    kind = (header(request, b"content-type") or "").partition(";")[0].strip().lower()
    if kind != "application/x-tar":
        raise UnsupportedMedia("Send the folder as a tar archive, application/x-tar.")
    size = header(request, b"content-length") or "0"
    if size.isdecimal() and int(size[:20]) > here.settings.max_push:
        raise BodyTooLarge(f"An archive may be {here.settings.max_push:,} bytes. Leave out what it does not need.")
    digest = header(request, b"samovar-digest")
    made, new = await here.pushes.push(account, model_owner, model_name, content(request), digest)
    if isinstance(made, Version):
        return answer(version_view(made))
    shown = views(request).push(made)
    return answer(shown, 201 if new else 200, {"Location": shown.urls["get"]})


@get("/pushes/{push_id:str}", operation_id="pushes.get")
async def show(request: AnyRequest, push_id: FromPath[str]) -> Response[bytes]:
    """A push as it stands now. Once it has succeeded, its version is there."""
    return await _view(request, await _find(request, push_id, await caller(request)))


@post("/pushes/{push_id:str}/cancel", operation_id="pushes.cancel", status_code=200)
async def cancel(request: AnyRequest, push_id: FromPath[str]) -> Response[bytes]:
    """Stop a push. One that has ended stays as it is."""
    found = await _find(request, push_id, await caller(request, "write"))
    return await _view(request, await canceled(request, found))


router = Router("/", route_handlers=[push, show, cancel], tags=["versions"])


async def content(request: AnyRequest) -> AsyncGenerator[bytes]:
    """A request's body as it comes. Raises `BadRequest` when the client goes away."""
    try:
        async for piece in request.stream():
            if piece:
                yield piece
    except HTTPException as error:
        raise BadRequest("The request broke off before its body was there.") from error


async def _find(request: AnyRequest, id: str, account: Account) -> Prediction:
    """Raises `NotFound`, also for a push to somebody else's name."""
    here = parts(request)
    p = await here.follower.read(id)
    if p is None or p.kind != "build":
        raise NotFound
    try:
        await here.pushes.allow(account, p.model.partition("/")[0])
    except Forbidden as error:
        raise NotFound from error
    return p


async def _view(request: AnyRequest, p: Prediction) -> Response[bytes]:
    return answer(views(request).push(await parts(request).builds.settled(p)))
