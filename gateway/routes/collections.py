"""/collections: models under one heading; admins make them, everybody reads them."""

import re
from typing import Final

from litestar import Response, Router, delete, get, patch, post
from litestar.params import FromPath
from msgspec import UNSET, Struct, UnsetType, structs

from gateway.catalog.descriptions import checked
from gateway.errors import InvalidInput, NotFound, wrong
from gateway.http.context import AnyRequest, answer, caller, parts, read
from gateway.http.model_lookup import shown
from gateway.routes.model_operations import CollectionOperation, NewCollectionOperation
from gateway.store.accounts import Account
from gateway.store.collections import Collection, Taken, Unknown
from gateway.views.resources import CollectionItem, CollectionView, Page

SLUG: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
MOST: Final = 1_000  # models of a collection, which is shown whole
LONGEST: Final = 100  # characters of name and slug


class NewCollection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    slug: str | None = None
    description: str
    full_description: str | None = None
    models: list[str] = []


class Changes(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is left out stays as it is."""

    name: str | UnsetType = UNSET
    slug: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    full_description: str | UnsetType | None = UNSET
    models: list[str] | UnsetType = UNSET


@get("/collections", operation_id="collections.list")
async def page(request: AnyRequest) -> Response[bytes]:
    """All of them, by name."""
    await caller(request)
    found = await parts(request).collections.all()
    items = [CollectionItem(name=each.name, slug=each.slug, description=each.description) for each in found]
    return answer(Page(next=None, previous=None, results=items))


@get("/collections/{collection_slug:str}", operation_id="collections.get")
async def show(request: AnyRequest, collection_slug: FromPath[str]) -> Response[bytes]:
    """With those of its models that you may see."""
    account = await caller(request)
    found = await parts(request).collections.get(collection_slug)
    if found is None:
        raise NotFound
    return await _answer(request, account, found)


@post("/collections", operation_id="collections.create", operation_class=NewCollectionOperation, status_code=201)
async def create(request: AnyRequest) -> Response[bytes]:
    """For tokens with the scope admin."""
    account = await caller(request, "admin")
    body = await read(request, NewCollection)
    made = Collection(
        name=_line("name", body.name),
        slug=_slug(slug_of(body.name) if body.slug is None else body.slug),
        description=_text("description", body.description),
        full_description=checked("full_description", body.full_description),
    )
    try:
        await parts(request).collections.create(made, _models(body.models))
    except (Taken, Unknown) as error:
        raise _refused(error, made.slug) from error
    return await _answer(request, account, made, 201)


@patch("/collections/{collection_slug:str}", operation_id="collections.update", operation_class=CollectionOperation)
async def update(request: AnyRequest, collection_slug: FromPath[str]) -> Response[bytes]:
    """For tokens with the scope admin. `models` takes the place of all that it has."""
    account = await caller(request, "admin")
    body = await read(request, Changes)
    given = {name: value for name, value in structs.asdict(body).items() if value is not UNSET and name != "models"}
    for name, check in (("name", _line), ("description", _text), ("full_description", checked)):
        if name in given:
            given[name] = check(name, given[name])
    if "slug" in given:
        given["slug"] = _slug(given["slug"])
    models = None if body.models is UNSET else _models(body.models)
    try:
        changed = await parts(request).collections.update(collection_slug, given, models)
    except (Taken, Unknown) as error:
        raise _refused(error, given.get("slug", collection_slug)) from error
    return await _answer(request, account, changed)


@delete("/collections/{collection_slug:str}", operation_id="collections.delete", status_code=204)
async def remove(request: AnyRequest, collection_slug: FromPath[str]) -> None:
    """For tokens with the scope admin. Its models stay."""
    await caller(request, "admin")
    if not await parts(request).collections.delete(collection_slug):
        raise NotFound


router = Router("/", route_handlers=[page, show, create, update, remove], tags=["collections"])


def slug_of(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:LONGEST].rstrip("-")


async def _answer(request: AnyRequest, account: Account, collection: Collection, status: int = 200) -> Response[bytes]:
    models = await parts(request).collections.models(collection.slug, account)
    return answer(CollectionView(**structs.asdict(collection), models=await shown(request, models)), status)


def _slug(text: str) -> str:
    if not SLUG.fullmatch(text) or len(text) > LONGEST:
        raise wrong("slug", "pattern", f"1 to {LONGEST} of a-z, 0-9 and -, such as text-to-image: give one")
    return text


def _line(field: str, text: str) -> str:
    if not text.strip() or len(text) > LONGEST:
        raise wrong(field, "string_lte", f"Must have 1 to {LONGEST} characters")
    return _text(field, text)


def _text(field: str, text: str) -> str:
    checked(field, text)
    return text


def _models(names: list[str]) -> list[str]:
    if len(names) > MOST:
        raise wrong("models", "array_max_items", f"Array must have at most {MOST} items")
    for name in names:
        checked("models", name)
    return names


def _refused(error: Taken | Unknown, slug: str) -> InvalidInput:
    if isinstance(error, Taken):
        return wrong("slug", "unique", f"There is a collection {slug} already: choose another slug.")
    return wrong("models", "unknown", f"Not there: {error}")
