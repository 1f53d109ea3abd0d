"""Search: QUERY /models for models, GET /search for collections, too."""

import re
from typing import Any, Final

from litestar import Response, Router, get, post
from litestar.di import NamedDependency
from msgspec import DecodeError, json

from gateway.errors import BadRequest, NotFound
from gateway.http import asgi
from gateway.http.asgi import AnyRequest, json_response
from gateway.http.context import authenticate, page_cursor, page_response
from gateway.http.model_views import ModelViews
from gateway.openapi.operations import operation
from gateway.openapi.parameters import SEARCH_OPTIONS
from gateway.store.accounts import Account
from gateway.store.collections import CollectionStore
from gateway.store.search import SearchStore
from gateway.views.resources import FoundModel, SearchView

PAGE_SIZE: Final = 25
LIMIT_PATTERN: Final = re.compile(r"0*([1-9]|[1-4][0-9]|50)")
MAX_COLLECTIONS: Final = 10


@post("/models/_query", operation_id="models.search", include_in_schema=False, status_code=200)
async def query_models(
    request: AnyRequest, search_store: NamedDependency[SearchStore], model_views: NamedDependency[ModelViews]
) -> Response[bytes]:
    """Search models: `QUERY /models`, which `gateway.http.middleware` routes here, with the phrase as its body."""
    if not request.scope.get("queried"):
        raise NotFound
    account = await authenticate(request)
    return await search_response(
        request, account, parse_phrase(await asgi.read_body(request)), search_store, model_views
    )


@get("/search", operation_id="search", operation_class=operation(SearchView, parameters=SEARCH_OPTIONS))
async def search(
    request: AnyRequest,
    collection_store: NamedDependency[CollectionStore],
    search_store: NamedDependency[SearchStore],
    model_views: NamedDependency[ModelViews],
) -> Response[bytes]:
    """Search models and collections, best match first."""
    account = await authenticate(request)
    text = request.query_params.get("query", "")
    if not text.strip():
        raise BadRequest('Query parameter "query" is required')
    limit = LIMIT_PATTERN.fullmatch(request.query_params.get("limit", "20"))
    if limit is None:
        raise BadRequest("limit: must be a number from 1 to 50.")
    matches = (await search_store.find_models(clean_text(text), account, None, int(limit[1]))).rows
    views = await model_views.build([each.model for each in matches])
    tags = await collection_store.slugs_of_models([each.model for each in matches])
    models = [
        FoundModel(model=view, metadata=_metadata(each.rank, tags.get((view.owner, view.name), [])))
        for view, each in zip(views, matches, strict=True)
    ]
    collections = await search_store.find_collections(clean_text(text), account, MAX_COLLECTIONS)
    return json_response(SearchView(query=text, models=models, collections=collections, pages=[]))


router = Router("/", route_handlers=[query_models, search], tags=["search"])


async def search_response(
    request: AnyRequest, account: Account, text: str, search_store: SearchStore, model_views: ModelViews
) -> Response[bytes]:
    """Answer with a page of the models that match. Its links are for GET as well, as some clients follow them so."""
    page = await search_store.find_models(text, account, page_cursor(request), PAGE_SIZE)
    views = await model_views.build([each.model for each in page.rows])
    return page_response(request, page, views, path="/v1/models", query={"query": text})


def parse_phrase(body: bytes) -> str:
    """Return the phrase in a body: a JSON string, or bare. Clients disagree, and their content type says nothing."""
    try:
        return clean_text(json.decode(body, type=str))
    except (DecodeError, UnicodeDecodeError):
        return clean_text(body.decode(errors="replace"))


def clean_text(text: str) -> str:
    """Return the text without what is no character of any text."""
    return text.encode(errors="replace").decode().replace("\0", " ").strip()


def _metadata(rank: float, tags: list[str]) -> dict[str, Any]:
    return {"generated_description": None, "tags": tags, "score": rank}
