"""/models/…/examples: predictions that are shown with a model, to all who may see it."""

from litestar import Response, Router, delete, get, post
from litestar.params import FromPath
from msgspec import Struct

from gateway.errors import InvalidInput, NotFound, wrong
from gateway.http.context import AnyRequest, answer, caller, cursor, paged, parts, read, views
from gateway.http.model_lookup import find, own
from gateway.openapi.operations import PageOperation
from gateway.routes.model_operations import ExampleOperation
from gateway.routes.predictions import known_version
from gateway.store.accounts import Account
from gateway.store.models import Model
from schemas.prediction import Prediction, Status


class NewExample(Struct, frozen=True, forbid_unknown_fields=True):
    prediction: str


@get(
    "/models/{model_owner:str}/{model_name:str}/examples",
    operation_id="models.examples.list",
    operation_class=PageOperation,
)
async def page(request: AnyRequest, model_owner: FromPath[str], model_name: FromPath[str]) -> Response[bytes]:
    """Newest first, whoever ran them."""
    account = await caller(request)
    model = await find(request, account, model_owner, model_name)
    here, view = parts(request), views(request)
    found = await here.examples.page(model.owner, model.name, cursor(request), here.settings.page_size)
    return paged(request, found, [view.example(p, await known_version(request, p)) for p in found.rows])


@post(
    "/models/{model_owner:str}/{model_name:str}/examples",
    operation_id="models.examples.create",
    operation_class=ExampleOperation,
    status_code=201,
)
async def add(request: AnyRequest, model_owner: FromPath[str], model_name: FromPath[str]) -> Response[bytes]:
    """Show one of your predictions with the model, from now on. 200: it is an example already."""
    account = await caller(request, "write")
    model = await own(request, account, model_owner, model_name)
    p = await _succeeded(request, account, model, (await read(request, NewExample)).prediction)
    added = await parts(request).examples.add(model.owner, model.name, p.id)
    if added is None:
        raise _unfit("Its data is kept no longer: run it again")
    return answer(views(request).example(p, await known_version(request, p)), 201 if added else 200)


@delete(
    "/models/{model_owner:str}/{model_name:str}/examples/{prediction_id:str}",
    operation_id="models.examples.delete",
    status_code=204,
)
async def remove(
    request: AnyRequest, model_owner: FromPath[str], model_name: FromPath[str], prediction_id: FromPath[str]
) -> None:
    """It is an example no more. The prediction stays what it was."""
    account = await caller(request, "write")
    model = await own(request, account, model_owner, model_name)
    if not await parts(request).examples.remove(model.owner, model.name, prediction_id):
        raise NotFound


router = Router("/", route_handlers=[page, add, remove], tags=["models"])


async def _succeeded(request: AnyRequest, account: Account, model: Model, id: str) -> Prediction:
    """Raises `InvalidInput`."""
    here = parts(request)
    p = None if "\0" in id else await here.follower.read(id, None if "admin" in account.scopes else account.id)
    if p is None or p.kind != "predict":
        raise _unfit("There is no such prediction of yours")
    if p.model != f"{model.owner}/{model.name}":
        raise _unfit(f"It is a prediction of {p.model}")
    if p.status is not Status.SUCCEEDED:
        raise _unfit(f"Its status is {p.status.value}; only one that has succeeded can be an example")
    await here.predictions.finish(p)  # its end may have been told before it was written
    return p


def _unfit(reason: str) -> InvalidInput:
    return wrong("prediction", "unfit", reason)
