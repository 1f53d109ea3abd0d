"""/trainings: create, list, get, cancel."""

from functools import partial

from litestar import Response, Router, get, post
from litestar.params import FromPath

from gateway.errors import NotFound
from gateway.http import headers
from gateway.http.context import AnyRequest, answer, bases, caller, cursor, header, paged, parts, read, source, views
from gateway.http.model_lookup import find_version
from gateway.openapi.operations import PageOperation, TrainOperation
from gateway.routes.predictions import canceled, hooked
from gateway.store.accounts import Account
from gateway.store.predictions import Filter
from gateway.versions.trainings import TrainingBody
from schemas.prediction import Prediction


@post(
    "/models/{model_owner:str}/{model_name:str}/versions/{version_id:str}/trainings",
    operation_id="trainings.create",
    operation_class=TrainOperation,
)
async def create(
    request: AnyRequest, model_owner: FromPath[str], model_name: FromPath[str], version_id: FromPath[str]
) -> Response[bytes]:
    """Train a version. What comes of it is a new version of the model `destination`."""
    account = await caller(request, "write", create=True)
    body = await read(request, TrainingBody)
    version = await find_version(request, account, model_owner, model_name, version_id)
    cancel_after = headers.parse_cancel_after(header(request, b"cancel-after"))
    p = await parts(request).trainings.begin(
        account,
        version,
        body,
        bases=bases(request),
        hooked=partial(hooked, request),
        cancel_after=cancel_after,
        source=source(request),
    )
    shown = views(request).training(p)
    return answer(shown, 201, {"Location": shown.urls["get"]})


@get("/trainings", operation_id="trainings.list", operation_class=PageOperation)
async def page(request: AnyRequest) -> Response[bytes]:
    """Your trainings, newest first."""
    account = await caller(request)
    here = parts(request)
    found = await here.predictions.page(account.id, Filter(), cursor(request), here.settings.page_size, kind="train")
    view = views(request)
    shown = await here.results.page(await here.follower.page(found.rows))
    return paged(request, found, [view.training(p) for p in shown])


@get("/trainings/{training_id:str}", operation_id="trainings.get")
async def show(request: AnyRequest, training_id: FromPath[str]) -> Response[bytes]:
    """A training as it stands now. Once it has succeeded, its version is there."""
    return await _view(request, await _find(request, training_id, await caller(request)))


@post("/trainings/{training_id:str}/cancel", operation_id="trainings.cancel", status_code=200)
async def cancel(request: AnyRequest, training_id: FromPath[str]) -> Response[bytes]:
    """Stop a training. One that has ended stays as it is."""
    account = await caller(request, "write")
    return await _view(request, await canceled(request, await _find(request, training_id, account)))


router = Router("/", route_handlers=[create, page, show, cancel], tags=["trainings"])


async def _find(request: AnyRequest, id: str, account: Account) -> Prediction:
    """Raises `NotFound`, also for somebody else's."""
    p = await parts(request).follower.read(id, account.id)
    if p is None or p.kind != "train":
        raise NotFound
    return p


async def _view(request: AnyRequest, p: Prediction) -> Response[bytes]:
    return answer(views(request).training(await parts(request).results.settled(p)))
