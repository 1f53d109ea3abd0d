"""Search: QUERY /models for models, GET /search for collections, too."""

import re
from typing import Any, Final

from litestar import Response, Router, get, post
from msgspec import DecodeError, json

from gateway.errors import BadRequest, NotFound
from gateway.http import context
from gateway.http.context import AnyRequest, answer, caller, cursor, paged, parts
from gateway.http.model_lookup import shown
from gateway.routes.model_operations import SearchOperation
from gateway.store.accounts import Account
from gateway.views.resources import FoundModel, SearchView

PAGE: Final = 25
LIMIT: Final = re.compile(r"0*([1-9]|[1-4][0-9]|50)")
COLLECTIONS: Final = 10


@post("/models/_query", operation_id="models.search", include_in_schema=False, status_code=200)
async def query(request: AnyRequest) -> Response[bytes]:
    """`QUERY /models`, which `gateway.http.middleware` sends here: the body is the phrase, bare or as a JSON string."""
    if not request.scope.get("queried"):
        raise NotFound
    account = await caller(request)
    return await found(request, account, phrase(await context.body(request)))


@get("/search", operation_id="search", operation_class=SearchOperation)
async def search(request: AnyRequest) -> Response[bytes]:
    """Models and collections, those that fit best first."""
    account = await caller(request)
    text = request.query_params.get("query", "")
    if not text.strip():
        raise BadRequest('Query parameter "query" is required')
    limit = LIMIT.fullmatch(request.query_params.get("limit", "20"))
    if limit is None:
        raise BadRequest("limit: must be a number from 1 to 50.")
    here = parts(request)
    best = (await here.search.models(readable(text), account, None, int(limit[1]))).rows
    views = await shown(request, [each.model for each in best])
    tags = await here.collections.tags([each.model for each in best])
    models = [
        FoundModel(model=view, metadata=_metadata(each.rank, tags.get((view.owner, view.name), [])))
        for view, each in zip(views, best, strict=True)
    ]
    collections = await here.search.collections(readable(text), account, COLLECTIONS)
    return answer(SearchView(query=text, models=models, collections=collections, pages=[]))


router = Router("/", route_handlers=[query, search], tags=["search"])


async def found(request: AnyRequest, account: Account, text: str) -> Response[bytes]:
    """A page of models. The links are for GET, too, as some clients follow them so."""
    listed = await parts(request).search.models(text, account, cursor(request), PAGE)
    views = await shown(request, [each.model for each in listed.rows])
    return paged(request, listed, views, path="/v1/models", query={"query": text})


def phrase(body: bytes) -> str:
    """Clients disagree on whether it is JSON, and what they call it says nothing."""
    try:
        return readable(json.decode(body, type=str))
    except (DecodeError, UnicodeDecodeError):
        return readable(body.decode(errors="replace"))


def readable(text: str) -> str:
    """With what is no character of any text replaced."""
    return text.encode(errors="replace").decode().replace("\0", " ").strip()


def _metadata(rank: float, tags: list[str]) -> dict[str, Any]:
    return {"generated_description": None, "tags": tags, "score": rank}
