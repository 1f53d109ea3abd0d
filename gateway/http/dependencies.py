"""The dependencies that routes take from litestar by name: the services, and what is made for one request."""

from typing import Any

from litestar.di import Provide
from msgspec import structs

from gateway.http.asgi import AnyRequest, get_services
from gateway.http.context import build_views
from gateway.http.model_lookup import model_lookup
from gateway.http.model_views import model_views
from gateway.http.prediction_lookup import prediction_lookup
from gateway.services import Services


def dependencies() -> dict[str, Provide]:
    """Return a provider for every service, under the name of its field, and for what is made for one request."""
    per_request = {
        "model_lookup": model_lookup,
        "model_views": model_views,
        "prediction_lookup": prediction_lookup,
        "views": build_views,
    }
    return {name: Provide(build, sync_to_thread=False) for name, build in per_request.items()} | _service_providers()


def _service_providers() -> dict[str, Provide]:
    providers = {"settings": Provide(_find_settings, sync_to_thread=False)}
    for group in structs.fields(Services):
        if group.name != "settings":
            providers |= {name: _service_provider(group.name, name) for name in group.type.__struct_fields__}
    return providers


def _find_settings(request: AnyRequest) -> Any:
    return get_services(request).settings


def _service_provider(group: str, name: str) -> Provide:
    def provide(request: AnyRequest) -> Any:
        return getattr(getattr(get_services(request), group), name)

    return Provide(provide, sync_to_thread=False)
