"""Models as one client sees them, each with its latest version and its default example."""

from collections.abc import Sequence

from gateway.catalog.catalog import Catalog
from gateway.http.asgi import AnyRequest, get_services
from gateway.http.context import build_views
from gateway.store.examples import ExampleStore
from gateway.store.models import Model
from gateway.views.resources import ModelView, Views


class ModelViews:
    """Builds the views of models, with what they show of other resources."""

    def __init__(self, views: Views, catalog: Catalog, example_store: ExampleStore) -> None:
        self._views = views
        self._catalog = catalog
        self._example_store = example_store

    async def build(self, models: Sequence[Model]) -> list[ModelView]:
        """Return the views of these models, in their order."""
        predictions = await self._example_store.default_examples(models)
        examples = {
            id: self._views.example(p, await self._catalog.find_version(p.version)) for id, p in predictions.items()
        }
        return [
            self._views.model(
                model,
                await self._catalog.find_version(model.latest_version) if model.latest_version else None,
                examples.get(model.default_example) if model.default_example else None,
            )
            for model in models
        ]


def model_views(request: AnyRequest) -> ModelViews:
    """Return the views for one request."""
    models = get_services(request).models
    return ModelViews(build_views(request), models.catalog, models.example_store)
