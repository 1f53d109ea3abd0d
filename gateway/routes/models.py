"""/models: list, create, get, update, delete, and predictions of their latest version."""

from typing import Any, Final

from litestar import Response, Router, delete, get, patch, post
from litestar.params import FromPath

from gateway.catalog.descriptions import Description, NewModel
from gateway.errors import BadRequest, Forbidden, NotFound, wrong
from gateway.http.context import AnyRequest, answer, caller, cursor, paged, parts, read
from gateway.http.model_lookup import find, own, shown
from gateway.openapi.operations import RunOperation
from gateway.predictions.request import Body
from gateway.routes.model_operations import DescribeOperation, ModelsOperation, NewModelOperation
from gateway.routes.predictions import run
from gateway.routes.search import found
from gateway.store.accounts import Account
from gateway.store.models import SORTED_BY, Model
from gateway.versions.pushes import check_name

PAGE: Final = 25


@get("/models", operation_id="models.list", operation_class=ModelsOperation)
async def page(request: AnyRequest) -> Response[bytes]:
    """Public models, those with the newest versions first; with `query`, those that fit it, the best first."""
    account = await caller(request)
    query = request.query_params
    if "query" in query:
        return await found(request, account, query["query"])
    sort_by = query.get("sort_by", "latest_version_created_at")
    if sort_by not in SORTED_BY:
        raise BadRequest(f"sort_by: must be one of {', '.join(SORTED_BY)}.")
    direction = query.get("sort_direction", "desc")
    if direction not in {"desc", "asc"}:
        raise BadRequest("sort_direction: must be desc or asc.")
    listed = await parts(request).models.page(
        sort_by, descending=direction == "desc", cursor=cursor(request), size=PAGE
    )
    return paged(request, listed, await shown(request, listed.rows))


@post("/models", operation_id="models.create", operation_class=NewModelOperation, status_code=201)
async def make(request: AnyRequest) -> Response[bytes]:
    """A model without a version yet: push one, or train one."""
    account = await caller(request, "write")
    body = await read(request, NewModel)
    check_name("owner", body.owner)
    check_name("name", body.name)
    if body.owner != account.username and "admin" not in account.scopes:
        raise Forbidden(f"owner: must be {account.username}; a token with the scope admin may name another.")
    made = await parts(request).descriptions.create(body.owner, body.name, body.given())
    if made is None:
        raise wrong("name", "unique", f"There is a model {body.owner}/{body.name} already: choose another name.")
    return await _answer(request, made, 201)


@get("/models/{model_owner:str}/{model_name:str}", operation_id="models.get")
async def show(request: AnyRequest, model_owner: FromPath[str], model_name: FromPath[str]) -> Response[bytes]:
    account = await caller(request)
    return await _answer(request, await find(request, account, model_owner, model_name))


@patch("/models/{model_owner:str}/{model_name:str}", operation_id="models.update", operation_class=DescribeOperation)
async def update(request: AnyRequest, model_owner: FromPath[str], model_name: FromPath[str]) -> Response[bytes]:
    """What is left out stays as it is; null takes it away."""
    account = await caller(request, "write")
    model = await own(request, account, model_owner, model_name)
    given = (await read(request, Description)).given()
    _refuse_hiding(model, account, given)
    here = parts(request)
    changed = await here.descriptions.update(model.owner, model.name, given)
    if changed is None:
        await find(request, account, model_owner, model_name)
        raise wrong("default_example", "unknown", "Must be the id of a prediction that is an example of this model")
    here.catalog.forget([])
    return await _answer(request, changed)


@get("/models/{model_owner:str}/{model_name:str}/readme", operation_id="models.readme.get")
async def readme(request: AnyRequest, model_owner: FromPath[str], model_name: FromPath[str]) -> Response[str]:
    """Markdown."""
    account = await caller(request)
    model = await find(request, account, model_owner, model_name)
    if not model.readme:
        raise NotFound
    return Response(model.readme, media_type="text/plain")


@delete("/models/{model_owner:str}/{model_name:str}", operation_id="models.delete", status_code=204)
async def remove(request: AnyRequest, model_owner: FromPath[str], model_name: FromPath[str]) -> None:
    """With all its versions."""
    account = await caller(request, "write")
    model = await own(request, account, model_owner, model_name)
    await parts(request).deleting.model(model.owner, model.name)


@post(
    "/models/{model_owner:str}/{model_name:str}/predictions",
    operation_id="models.predictions.create",
    operation_class=RunOperation,
)
async def create(request: AnyRequest, model_owner: FromPath[str], model_name: FromPath[str]) -> Response[bytes]:
    """Run the model's latest version."""
    account = await caller(request, "predict", create=True)
    body = await read(request, Body)
    return await run(request, account, await parts(request).catalog.latest(model_owner, model_name, account), body)


router = Router("/", route_handlers=[page, make, show, update, readme, create, remove], tags=["models"])


def _refuse_hiding(model: Model, account: Account, given: dict[str, Any]) -> None:
    """Raises `InvalidInput` when nobody would own what is made private, not even who makes it so."""
    hidden = given.get("visibility") == "private"
    if hidden and model.owner != account.username and "admin" not in account.scopes:
        raise wrong(
            "visibility", "enum", f"{model.owner} is no account, so nobody would see it any more: leave it public"
        )


async def _answer(request: AnyRequest, model: Model, status: int = 200) -> Response[bytes]:
    [view] = await shown(request, [model])
    return answer(view, status)
