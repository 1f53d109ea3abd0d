"""Models and versions as routes find them: those that one account may see, or may change."""

from gateway.catalog.catalog import Catalog, Version, is_visible
from gateway.errors import NotFound
from gateway.http.asgi import AnyRequest, get_services
from gateway.store.accounts import Account
from gateway.store.models import Model, ModelStore
from gateway.versions.pushes import PushService


class ModelLookup:
    """Finds models and all that belongs to them, for routes, and refuses those that the account may not see."""

    def __init__(self, model_store: ModelStore, catalog: Catalog, pushes: PushService) -> None:
        self._model_store = model_store
        self._catalog = catalog
        self._pushes = pushes

    async def find(self, account: Account, owner: str, name: str) -> Model:
        """Return a model. Raises `NotFound`, also for a private one of somebody else."""
        model = await self._model_store.get(owner, name)
        if model is None or not is_visible(model, account):
            raise NotFound
        return model

    async def find_own(self, account: Account, owner: str, name: str) -> Model:
        """Return a model that this account may change. Raises `NotFound` or `Forbidden`."""
        model = await self.find(account, owner, name)
        if "admin" not in account.scopes:
            await self._pushes.require_owner(account, owner)
        return model

    async def find_version(self, account: Account, owner: str, name: str, id: str) -> Version:
        """Return a version of a model. Raises `NotFound`."""
        await self.find(account, owner, name)
        version = await self._catalog.find_version(id)
        if version is None or (version.owner, version.name) != (owner, name):
            raise NotFound
        return version

    async def refuse_hidden(self, account: Account, owner: str, name: str) -> None:
        """Raise `NotFound` for a private model of somebody else; one that does not exist yet may be created."""
        model = await self._model_store.get(owner, name)
        if model is not None and not is_visible(model, account):
            raise NotFound


def model_lookup(request: AnyRequest) -> ModelLookup:
    """Return the lookup for one request."""
    services = get_services(request)
    return ModelLookup(services.models.model_store, services.models.catalog, services.versions.pushes)
