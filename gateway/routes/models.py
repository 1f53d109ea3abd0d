"""/models: list, create, get, update, delete, and predictions of their latest version."""

from typing import Any, Final

from litestar import Response, Router, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from gateway.catalog.catalog import Catalog
from gateway.catalog.descriptions import ModelChanges, NewModel
from gateway.errors import BadRequest, Forbidden, NotFound, invalid_field
from gateway.http.asgi import AnyRequest, get_services, json_response
from gateway.http.context import authenticate, page_cursor, page_response, read_json
from gateway.http.model_lookup import ModelLookup
from gateway.http.model_views import ModelViews
from gateway.openapi.operations import TEXT, create_prediction, operation, page_of
from gateway.openapi.parameters import MODEL_FILTERS
from gateway.predictions.request import PredictionBody
from gateway.routes.predictions import submit_prediction
from gateway.routes.search import search_response
from gateway.store.accounts import Account
from gateway.store.descriptions import DescriptionStore
from gateway.store.models import SORT_COLUMNS, Model, ModelStore
from gateway.store.search import SearchStore
from gateway.versions.deletion import VersionDeleter
from gateway.versions.pushes import check_name
from gateway.views.resources import ModelView

PAGE_SIZE: Final = 25


@get("/models", operation_id="models.list", operation_class=page_of(ModelView, *MODEL_FILTERS))
async def list_models(
    request: AnyRequest,
    model_store: NamedDependency[ModelStore],
    search_store: NamedDependency[SearchStore],
    model_views: NamedDependency[ModelViews],
) -> Response[bytes]:
    """List public models, those with the newest versions first.

    With `query`, models that match it, best match first.
    """
    account = await authenticate(request)
    query = request.query_params
    if "query" in query:
        return await search_response(request, account, query["query"], search_store, model_views)
    sort_by = query.get("sort_by", "latest_version_created_at")
    if sort_by not in SORT_COLUMNS:
        raise BadRequest(f"sort_by: must be one of {', '.join(SORT_COLUMNS)}.")
    direction = query.get("sort_direction", "desc")
    if direction not in {"desc", "asc"}:
        raise BadRequest("sort_direction: must be desc or asc.")
    page = await model_store.public_page(
        sort_by, descending=direction == "desc", cursor=page_cursor(request), size=PAGE_SIZE
    )
    return page_response(request, page, await model_views.build(page.rows))


@post("/models", operation_id="models.create", operation_class=operation(ModelView, body=NewModel), status_code=201)
async def create_model(
    request: AnyRequest, description_store: NamedDependency[DescriptionStore], model_views: NamedDependency[ModelViews]
) -> Response[bytes]:
    """Create a model without versions.

    Push a version, or train one.
    """
    account = await authenticate(request, "write")
    body = await read_json(request, NewModel)
    check_name("owner", body.owner)
    check_name("name", body.name)
    if body.owner != account.username and "admin" not in account.scopes:
        raise Forbidden(f"owner: must be {account.username}; a token with the scope admin may name another.")
    model = await description_store.create(body.owner, body.name, body.checked_fields())
    if model is None:
        raise invalid_field(
            "name", "unique", f"There is a model {body.owner}/{body.name} already: choose another name."
        )
    return await _model_response(model, model_views, 201)


@get("/models/{model_owner:str}/{model_name:str}", operation_id="models.get", operation_class=operation(ModelView))
async def get_model(
    request: AnyRequest,
    model_owner: FromPath[str],
    model_name: FromPath[str],
    model_lookup: NamedDependency[ModelLookup],
    model_views: NamedDependency[ModelViews],
) -> Response[bytes]:
    """Get a model."""
    account = await authenticate(request)
    return await _model_response(await model_lookup.find(account, model_owner, model_name), model_views)


@patch(
    "/models/{model_owner:str}/{model_name:str}",
    operation_id="models.update",
    operation_class=operation(ModelView, body=ModelChanges),
)
async def update_model(
    request: AnyRequest,
    model_owner: FromPath[str],
    model_name: FromPath[str],
    catalog: NamedDependency[Catalog],
    description_store: NamedDependency[DescriptionStore],
    model_lookup: NamedDependency[ModelLookup],
    model_views: NamedDependency[ModelViews],
) -> Response[bytes]:
    """Update a model.

    Fields that are left out stay as they are; null removes a value.
    """
    account = await authenticate(request, "write")
    model = await model_lookup.find_own(account, model_owner, model_name)
    fields = (await read_json(request, ModelChanges)).checked_fields()
    _refuse_hiding(model, account, fields)
    changed = await description_store.update(model.owner, model.name, fields)
    if changed is None:
        await model_lookup.find(account, model_owner, model_name)
        raise invalid_field(
            "default_example", "unknown", "Must be the id of a prediction that is an example of this model"
        )
    catalog.forget([])
    return await _model_response(changed, model_views)


@get(
    "/models/{model_owner:str}/{model_name:str}/readme",
    operation_id="models.readme.get",
    operation_class=operation(media=TEXT),
)
async def get_readme(
    request: AnyRequest,
    model_owner: FromPath[str],
    model_name: FromPath[str],
    model_lookup: NamedDependency[ModelLookup],
) -> Response[str]:
    """Get a model's README, in Markdown."""
    account = await authenticate(request)
    model = await model_lookup.find(account, model_owner, model_name)
    if not model.readme:
        raise NotFound
    return Response(model.readme, media_type="text/plain")


@delete(
    "/models/{model_owner:str}/{model_name:str}",
    operation_id="models.delete",
    operation_class=operation(refuses=(422,)),
    status_code=204,
)
async def delete_model(
    request: AnyRequest,
    model_owner: FromPath[str],
    model_name: FromPath[str],
    deletion: NamedDependency[VersionDeleter],
    model_lookup: NamedDependency[ModelLookup],
) -> None:
    """Delete a model with all its versions."""
    account = await authenticate(request, "write")
    model = await model_lookup.find_own(account, model_owner, model_name)
    await deletion.delete_model(model.owner, model.name)


@post(
    "/models/{model_owner:str}/{model_name:str}/predictions",
    operation_id="models.predictions.create",
    operation_class=create_prediction(),
)
async def predict(request: AnyRequest, model_owner: FromPath[str], model_name: FromPath[str]) -> Response[bytes]:
    """Create a prediction of a model's latest version."""
    account = await authenticate(request, "predict", create=True)
    body = await read_json(request, PredictionBody)
    version = await get_services(request).models.catalog.latest_version(model_owner, model_name, account)
    return await submit_prediction(request, account, version, body)


router = Router(
    "/",
    route_handlers=[list_models, create_model, get_model, update_model, get_readme, predict, delete_model],
    tags=["models"],
)


def _refuse_hiding(model: Model, account: Account, fields: dict[str, Any]) -> None:
    """Raise `InvalidInput` if a model is made private that no account owns, not even the one that hides it."""
    hidden = fields.get("visibility") == "private"
    if hidden and model.owner != account.username and "admin" not in account.scopes:
        raise invalid_field(
            "visibility", "enum", f"{model.owner} is no account, so nobody would see it any more: leave it public"
        )


async def _model_response(model: Model, model_views: ModelViews, status: int = 200) -> Response[bytes]:
    [view] = await model_views.build([model])
    return json_response(view, status)
