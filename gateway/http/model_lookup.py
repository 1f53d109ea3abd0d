"""Models as one account may see them: found or not there, with their latest version and default example."""

from collections.abc import Sequence

from gateway.catalog.catalog import Version, visible
from gateway.errors import NotFound
from gateway.http.context import AnyRequest, parts, views
from gateway.store.accounts import Account
from gateway.store.models import Model
from gateway.views.resources import ModelView


async def find(request: AnyRequest, account: Account, owner: str, name: str) -> Model:
    """The one way to a model and all that belongs to it. Raises `NotFound`, also for a private one of somebody else."""
    model = await parts(request).models.model(owner, name)
    if model is None or not visible(model, account):
        raise NotFound
    return model


async def refuse_hidden(request: AnyRequest, account: Account, owner: str, name: str) -> None:
    """Raises `NotFound` for a private model of somebody else; one that is not there yet may come to be."""
    model = await parts(request).models.model(owner, name)
    if model is not None and not visible(model, account):
        raise NotFound


async def own(request: AnyRequest, account: Account, owner: str, name: str) -> Model:
    """One that this account may change. Raises `NotFound` or `Forbidden`."""
    model = await find(request, account, owner, name)
    if "admin" not in account.scopes:
        await parts(request).pushes.allow(account, owner)
    return model


async def find_version(request: AnyRequest, account: Account, owner: str, name: str, id: str) -> Version:
    """Raises `NotFound`."""
    await find(request, account, owner, name)
    found = await parts(request).catalog.kept(id)
    if found is None or (found.owner, found.name) != (owner, name):
        raise NotFound
    return found


async def shown(request: AnyRequest, models: Sequence[Model]) -> list[ModelView]:
    view, here = views(request), parts(request)
    examples = await here.examples.defaults(models)
    seen = {id: view.example(p, await here.catalog.kept(p.version)) for id, p in examples.items()}
    return [
        view.model(
            model,
            await here.catalog.kept(model.latest_version) if model.latest_version else None,
            seen.get(model.default_example) if model.default_example else None,
        )
        for model in models
    ]
