"""/trainings: create, list, get, cancel."""

from functools import partial

from litestar import Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from gateway.errors import NotFound
from gateway.events.follower import Follower
from gateway.http import headers
from gateway.http.asgi import AnyRequest, header, json_response
from gateway.http.context import authenticate, own_base_urls, page_cursor, page_response, read_json, request_source
from gateway.http.model_lookup import ModelLookup
from gateway.http.prediction_lookup import PredictionLookup
from gateway.openapi.operations import operation, page_of
from gateway.openapi.parameters import CANCEL_AFTER
from gateway.routes.predictions import add_webhook
from gateway.settings import Settings
from gateway.store.accounts import Account
from gateway.store.predictions import PredictionFilter, PredictionStore
from gateway.versions.training_results import TrainingResults
from gateway.versions.trainings import TrainingBody, TrainingService
from gateway.views.resources import TrainingView, Views
from schemas.prediction import Prediction


@post(
    "/models/{model_owner:str}/{model_name:str}/versions/{version_id:str}/trainings",
    operation_id="trainings.create",
    operation_class=operation(
        TrainingView,
        body=TrainingBody,
        required=("destination", "input"),
        hidden=("version",),
        parameters=(CANCEL_AFTER,),
    ),
)
async def create_training(
    request: AnyRequest,
    model_owner: FromPath[str],
    model_name: FromPath[str],
    version_id: FromPath[str],
    trainings: NamedDependency[TrainingService],
    settings: NamedDependency[Settings],
    views: NamedDependency[Views],
    model_lookup: NamedDependency[ModelLookup],
) -> Response[bytes]:
    """Train a version.

    The result is a new version of the model `destination`.
    """
    account = await authenticate(request, "write", create=True)
    body = await read_json(request, TrainingBody)
    version = await model_lookup.find_version(account, model_owner, model_name, version_id)
    cancel_after = headers.parse_cancel_after(header(request, b"cancel-after"))
    p = await trainings.start(
        account,
        version,
        body,
        bases=own_base_urls(request),
        add_webhook=partial(add_webhook, egress_policy=settings.egress_policy, base_url=views.base),
        cancel_after=cancel_after,
        source=request_source(request),
    )
    view = views.training(p)
    return json_response(view, 201, {"Location": view.urls["get"]})


@get("/trainings", operation_id="trainings.list", operation_class=page_of(TrainingView))
async def list_trainings(
    request: AnyRequest,
    prediction_store: NamedDependency[PredictionStore],
    follower: NamedDependency[Follower],
    training_results: NamedDependency[TrainingResults],
    settings: NamedDependency[Settings],
    views: NamedDependency[Views],
) -> Response[bytes]:
    """List your trainings, newest first."""
    account = await authenticate(request)
    page = await prediction_store.page(
        account.id, PredictionFilter(), page_cursor(request), settings.page_size, kind="train"
    )
    trainings = await training_results.settle_page(await follower.read_page(page.rows))
    return page_response(request, page, [views.training(p) for p in trainings])


@get("/trainings/{training_id:str}", operation_id="trainings.get", operation_class=operation(TrainingView))
async def get_training(
    request: AnyRequest,
    training_id: FromPath[str],
    follower: NamedDependency[Follower],
    training_results: NamedDependency[TrainingResults],
    views: NamedDependency[Views],
) -> Response[bytes]:
    """Get a training as it stands now.

    Once it has succeeded, its version exists.
    """
    p = await _find(training_id, await authenticate(request), follower)
    return await _training_response(p, training_results, views)


@post(
    "/trainings/{training_id:str}/cancel",
    operation_id="trainings.cancel",
    operation_class=operation(TrainingView),
    status_code=200,
)
async def cancel_training(
    request: AnyRequest,
    training_id: FromPath[str],
    follower: NamedDependency[Follower],
    training_results: NamedDependency[TrainingResults],
    views: NamedDependency[Views],
    prediction_lookup: NamedDependency[PredictionLookup],
) -> Response[bytes]:
    """Cancel a training.

    One that has ended stays as it is.
    """
    account = await authenticate(request, "write")
    p = await prediction_lookup.cancel(await _find(training_id, account, follower))
    return await _training_response(p, training_results, views)


router = Router(
    "/", route_handlers=[create_training, list_trainings, get_training, cancel_training], tags=["trainings"]
)


async def _find(id: str, account: Account, follower: Follower) -> Prediction:
    """Return a training of this account. Raises `NotFound`, also for one of somebody else."""
    p = await follower.read(id, account.id)
    if p is None or p.kind != "train":
        raise NotFound
    return p


async def _training_response(p: Prediction, training_results: TrainingResults, views: Views) -> Response[bytes]:
    return json_response(views.training(await training_results.settle(p)))
