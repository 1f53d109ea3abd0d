"""/collections: models under one heading. Admins make them; everyone reads them."""

import re
from typing import Final

from litestar import Response, Router, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import UNSET, Struct, UnsetType, structs

from gateway.catalog.descriptions import check_text
from gateway.errors import InvalidInput, NotFound, invalid_field
from gateway.http.asgi import AnyRequest, json_response
from gateway.http.context import authenticate, read_json
from gateway.http.model_views import ModelViews
from gateway.openapi.operations import operation
from gateway.store.accounts import Account
from gateway.store.collections import Collection, CollectionStore, SlugTaken, UnknownModels
from gateway.views.resources import CollectionItem, CollectionView, Page

SLUG_PATTERN: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
MAX_MODELS: Final = 1_000  # models of a collection, which is shown whole
MAX_LENGTH: Final = 100  # characters of name and slug


class NewCollection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a request that creates a collection."""

    name: str
    slug: str | None = None
    """Lower-case letters, digits and hyphens; derived from the name if it is left out."""
    description: str
    full_description: str | None = None
    """Markdown."""
    models: list[str] = []
    """`owner/name` of each model, in the order of the list."""


class CollectionChanges(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields of an update; what is left out stays as it is."""

    name: str | UnsetType = UNSET
    slug: str | UnsetType = UNSET
    """Lower-case letters, digits and hyphens."""
    description: str | UnsetType = UNSET
    full_description: str | UnsetType | None = UNSET
    """Markdown."""
    models: list[str] | UnsetType = UNSET
    """`owner/name` of each model, in the order of the list."""


@get("/collections", operation_id="collections.list", operation_class=operation(CollectionItem, is_page=True))
async def list_collections(request: AnyRequest, collection_store: NamedDependency[CollectionStore]) -> Response[bytes]:
    """List all collections, by name."""
    await authenticate(request)
    collections = await collection_store.list_all()
    items = [CollectionItem(name=each.name, slug=each.slug, description=each.description) for each in collections]
    return json_response(Page(next=None, previous=None, results=items))


@get("/collections/{collection_slug:str}", operation_id="collections.get", operation_class=operation(CollectionView))
async def get_collection(
    request: AnyRequest,
    collection_slug: FromPath[str],
    collection_store: NamedDependency[CollectionStore],
    model_views: NamedDependency[ModelViews],
) -> Response[bytes]:
    """Get a collection, with those of its models that you may see."""
    account = await authenticate(request)
    collection = await collection_store.get(collection_slug)
    if collection is None:
        raise NotFound
    return await _collection_response(account, collection, collection_store, model_views)


@post(
    "/collections",
    operation_id="collections.create",
    operation_class=operation(CollectionView, body=NewCollection),
    status_code=201,
)
async def create_collection(
    request: AnyRequest, collection_store: NamedDependency[CollectionStore], model_views: NamedDependency[ModelViews]
) -> Response[bytes]:
    """Create a collection.

    The token needs the scope `admin`.
    """
    account = await authenticate(request, "admin")
    body = await read_json(request, NewCollection)
    collection = Collection(
        name=_check_line("name", body.name),
        slug=_check_slug(slugify(body.name) if body.slug is None else body.slug),
        description=_check_text("description", body.description),
        full_description=check_text("full_description", body.full_description),
    )
    try:
        await collection_store.create(collection, _check_models(body.models))
    except (SlugTaken, UnknownModels) as error:
        raise _invalid(error, collection.slug) from error
    return await _collection_response(account, collection, collection_store, model_views, 201)


@patch(
    "/collections/{collection_slug:str}",
    operation_id="collections.update",
    operation_class=operation(CollectionView, body=CollectionChanges),
)
async def update_collection(
    request: AnyRequest,
    collection_slug: FromPath[str],
    collection_store: NamedDependency[CollectionStore],
    model_views: NamedDependency[ModelViews],
) -> Response[bytes]:
    """Update a collection.

    The token needs the scope `admin`. `models` replaces all models of the collection.
    """
    account = await authenticate(request, "admin")
    body = await read_json(request, CollectionChanges)
    fields = {name: value for name, value in structs.asdict(body).items() if value is not UNSET and name != "models"}
    for name, check in (("name", _check_line), ("description", _check_text), ("full_description", check_text)):
        if name in fields:
            fields[name] = check(name, fields[name])
    if "slug" in fields:
        fields["slug"] = _check_slug(fields["slug"])
    models = None if body.models is UNSET else _check_models(body.models)
    try:
        changed = await collection_store.update(collection_slug, fields, models)
    except (SlugTaken, UnknownModels) as error:
        raise _invalid(error, fields.get("slug", collection_slug)) from error
    return await _collection_response(account, changed, collection_store, model_views)


@delete(
    "/collections/{collection_slug:str}",
    operation_id="collections.delete",
    operation_class=operation(),
    status_code=204,
)
async def delete_collection(
    request: AnyRequest, collection_slug: FromPath[str], collection_store: NamedDependency[CollectionStore]
) -> None:
    """Delete a collection.

    The token needs the scope `admin`. The collection's models stay.
    """
    await authenticate(request, "admin")
    if not await collection_store.delete(collection_slug):
        raise NotFound


router = Router(
    "/",
    route_handlers=[list_collections, get_collection, create_collection, update_collection, delete_collection],
    tags=["collections"],
)


def slugify(name: str) -> str:
    """Return the slug that a collection gets by default."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:MAX_LENGTH].rstrip("-")


async def _collection_response(
    account: Account,
    collection: Collection,
    collection_store: CollectionStore,
    model_views: ModelViews,
    status: int = 200,
) -> Response[bytes]:
    models = await collection_store.list_models(collection.slug, account)
    return json_response(CollectionView(**structs.asdict(collection), models=await model_views.build(models)), status)


def _check_slug(text: str) -> str:
    if not SLUG_PATTERN.fullmatch(text) or len(text) > MAX_LENGTH:
        raise invalid_field("slug", "pattern", f"1 to {MAX_LENGTH} of a-z, 0-9 and -, such as text-to-image: give one")
    return text


def _check_line(field: str, text: str) -> str:
    if not text.strip() or len(text) > MAX_LENGTH:
        raise invalid_field(field, "string_lte", f"Must have 1 to {MAX_LENGTH} characters")
    return _check_text(field, text)


def _check_text(field: str, text: str) -> str:
    check_text(field, text)
    return text


def _check_models(names: list[str]) -> list[str]:
    if len(names) > MAX_MODELS:
        raise invalid_field("models", "array_max_items", f"Array must have at most {MAX_MODELS} items")
    for name in names:
        check_text("models", name)
    return names


def _invalid(error: SlugTaken | UnknownModels, slug: str) -> InvalidInput:
    if isinstance(error, SlugTaken):
        return invalid_field("slug", "unique", f"There is a collection {slug} already: choose another slug.")
    return invalid_field("models", "unknown", f"Not there: {error}")
