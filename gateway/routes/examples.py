"""/models/…/examples: predictions that are shown with a model, to everyone who may see it."""

from litestar import Response, Router, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Struct

from gateway.errors import InvalidInput, NotFound, invalid_field
from gateway.events.follower import Follower
from gateway.http.asgi import AnyRequest, json_response
from gateway.http.context import authenticate, page_cursor, page_response, read_json
from gateway.http.model_lookup import ModelLookup
from gateway.http.prediction_lookup import PredictionLookup
from gateway.openapi.operations import operation, page_of
from gateway.settings import Settings
from gateway.store.accounts import Account
from gateway.store.examples import ExampleStore
from gateway.store.models import Model
from gateway.store.predictions import PredictionStore
from gateway.views.resources import PredictionView, Views
from schemas.prediction import Prediction, Status


class NewExample(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request that adds an example."""

    prediction: str
    """The id of one of your predictions that has succeeded."""


@get(
    "/models/{model_owner:str}/{model_name:str}/examples",
    operation_id="models.examples.list",
    operation_class=page_of(PredictionView),
)
async def list_examples(
    request: AnyRequest,
    model_owner: FromPath[str],
    model_name: FromPath[str],
    example_store: NamedDependency[ExampleStore],
    settings: NamedDependency[Settings],
    views: NamedDependency[Views],
    model_lookup: NamedDependency[ModelLookup],
    prediction_lookup: NamedDependency[PredictionLookup],
) -> Response[bytes]:
    """List the examples of a model, newest first, whoever ran them."""
    account = await authenticate(request)
    model = await model_lookup.find(account, model_owner, model_name)
    page = await example_store.page(model.owner, model.name, page_cursor(request), settings.page_size)
    return page_response(request, page, [views.example(p, await prediction_lookup.find_version(p)) for p in page.rows])


@post(
    "/models/{model_owner:str}/{model_name:str}/examples",
    operation_id="models.examples.create",
    operation_class=operation(PredictionView, also=(200,), body=NewExample),
    status_code=201,
)
async def add_example(
    request: AnyRequest,
    model_owner: FromPath[str],
    model_name: FromPath[str],
    example_store: NamedDependency[ExampleStore],
    prediction_store: NamedDependency[PredictionStore],
    follower: NamedDependency[Follower],
    views: NamedDependency[Views],
    model_lookup: NamedDependency[ModelLookup],
    prediction_lookup: NamedDependency[PredictionLookup],
) -> Response[bytes]:
    """Add a prediction of yours to a model's examples.

    200 means that it is an example already.
    """
    account = await authenticate(request, "write")
    model = await model_lookup.find_own(account, model_owner, model_name)
    body = await read_json(request, NewExample)
    p = await _find_succeeded(account, model, body.prediction, prediction_store, follower)
    is_new = await example_store.add(model.owner, model.name, p.id)
    if is_new is None:
        raise _unsuitable("Its data is kept no longer: run it again")
    return json_response(views.example(p, await prediction_lookup.find_version(p)), 201 if is_new else 200)


@delete(
    "/models/{model_owner:str}/{model_name:str}/examples/{prediction_id:str}",
    operation_id="models.examples.delete",
    operation_class=operation(),
    status_code=204,
)
async def remove_example(
    request: AnyRequest,
    model_owner: FromPath[str],
    model_name: FromPath[str],
    prediction_id: FromPath[str],
    example_store: NamedDependency[ExampleStore],
    model_lookup: NamedDependency[ModelLookup],
) -> None:
    """Remove a prediction from a model's examples.

    The prediction itself stays.
    """
    account = await authenticate(request, "write")
    model = await model_lookup.find_own(account, model_owner, model_name)
    if not await example_store.remove(model.owner, model.name, prediction_id):
        raise NotFound


router = Router("/", route_handlers=[list_examples, add_example, remove_example], tags=["models"])


async def _find_succeeded(
    account: Account, model: Model, id: str, prediction_store: PredictionStore, follower: Follower
) -> Prediction:
    """Return a prediction that can be an example. Raises `InvalidInput` for any other."""
    p = None if "\0" in id else await follower.read(id, None if "admin" in account.scopes else account.id)
    if p is None or p.kind != "predict":
        raise _unsuitable("There is no such prediction of yours")
    if p.model != f"{model.owner}/{model.name}":
        raise _unsuitable(f"It is a prediction of {p.model}")
    if p.status is not Status.SUCCEEDED:
        raise _unsuitable(f"Its status is {p.status.value}; only one that has succeeded can be an example")
    await prediction_store.finish(p)  # clients may have seen its end before it was written
    return p


def _unsuitable(reason: str) -> InvalidInput:
    return invalid_field("prediction", "unfit", reason)
