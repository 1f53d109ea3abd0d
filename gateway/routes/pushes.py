"""/pushes, and the versions that they make: push, get, cancel."""

from collections.abc import AsyncGenerator

from litestar import Response, Router, get, post
from litestar.di import NamedDependency
from litestar.exceptions import HTTPException
from litestar.params import FromPath

from gateway.catalog.catalog import Version
from gateway.errors import BadRequest, BodyTooLarge, Forbidden, NotFound, UnsupportedMedia
from gateway.events.follower import Follower
from gateway.http.asgi import AnyRequest, header, json_response
from gateway.http.context import authenticate
from gateway.http.model_lookup import ModelLookup
from gateway.http.prediction_lookup import PredictionLookup
from gateway.openapi.operations import ARCHIVE, operation
from gateway.openapi.parameters import DIGEST
from gateway.settings import Settings
from gateway.store.accounts import Account
from gateway.versions.push_results import PushResults
from gateway.versions.pushes import PushService, check_name
from gateway.views.resources import PushView, Views, version_view
from schemas.prediction import Prediction


@post(
    "/models/{model_owner:str}/{model_name:str}/versions",
    operation_id="models.versions.push",
    operation_class=operation(
        PushView, also=(200,), body=ARCHIVE, body_media="application/x-tar", parameters=(DIGEST,)
    ),
    request_max_body_size=None,
)
async def push_version(
    request: AnyRequest,
    model_owner: FromPath[str],
    model_name: FromPath[str],
    pushes: NamedDependency[PushService],
    settings: NamedDependency[Settings],
    views: NamedDependency[Views],
    model_lookup: NamedDependency[ModelLookup],
) -> Response[bytes]:
    """Push a version of a model: a folder, as a tar archive.

    200 means that the version exists already, or that its push is under way.
    """
    account = await authenticate(request, "write")
    check_name("owner", model_owner)
    check_name("name", model_name)
    await pushes.require_owner(account, model_owner)
    await model_lookup.refuse_hidden(account, model_owner, model_name)
    media_type = (header(request, b"content-type") or "").partition(";")[0].strip().lower()
    if media_type != "application/x-tar":
        raise UnsupportedMedia("Send the folder as a tar archive, application/x-tar.")
    size = header(request, b"content-length") or "0"
    if size.isdecimal() and int(size[:20]) > settings.max_push:
        raise BodyTooLarge(f"An archive may be {settings.max_push:,} bytes. Leave out what it does not need.")
    digest = header(request, b"samovar-digest")
    result, is_new = await pushes.push(account, model_owner, model_name, stream_body(request), digest)
    if isinstance(result, Version):
        return json_response(version_view(result))
    view = views.push(result)
    return json_response(view, 201 if is_new else 200, {"Location": view.urls["get"]})


@get("/pushes/{push_id:str}", operation_id="pushes.get", operation_class=operation(PushView))
async def get_push(
    request: AnyRequest,
    push_id: FromPath[str],
    follower: NamedDependency[Follower],
    pushes: NamedDependency[PushService],
    push_results: NamedDependency[PushResults],
    views: NamedDependency[Views],
) -> Response[bytes]:
    """Get a push as it stands now.

    Once it has succeeded, its version exists.
    """
    p = await _find(push_id, await authenticate(request), follower, pushes)
    return await _push_response(p, push_results, views)


@post(
    "/pushes/{push_id:str}/cancel", operation_id="pushes.cancel", operation_class=operation(PushView), status_code=200
)
async def cancel_push(
    request: AnyRequest,
    push_id: FromPath[str],
    follower: NamedDependency[Follower],
    pushes: NamedDependency[PushService],
    push_results: NamedDependency[PushResults],
    views: NamedDependency[Views],
    prediction_lookup: NamedDependency[PredictionLookup],
) -> Response[bytes]:
    """Cancel a push.

    One that has ended stays as it is.
    """
    p = await _find(push_id, await authenticate(request, "write"), follower, pushes)
    return await _push_response(await prediction_lookup.cancel(p), push_results, views)


router = Router("/", route_handlers=[push_version, get_push, cancel_push], tags=["versions"])


async def stream_body(request: AnyRequest) -> AsyncGenerator[bytes]:
    """Yield a request's body as it arrives. Raises `BadRequest` if the client leaves before its end."""
    try:
        async for piece in request.stream():
            if piece:
                yield piece
    except HTTPException as error:
        raise BadRequest("The request broke off before its body was there.") from error


async def _find(id: str, account: Account, follower: Follower, pushes: PushService) -> Prediction:
    """Return a push to a name of this account. Raises `NotFound`, also for one to a name of somebody else."""
    p = await follower.read(id)
    if p is None or p.kind != "build":
        raise NotFound
    try:
        await pushes.require_owner(account, p.model.partition("/")[0])
    except Forbidden as error:
        raise NotFound from error
    return p


async def _push_response(p: Prediction, push_results: PushResults, views: Views) -> Response[bytes]:
    return json_response(views.push(await push_results.settle(p)))
