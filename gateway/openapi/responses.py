"""What each operation answers when it goes well, by its id."""

from typing import Final, Literal

from msgspec import Struct

from gateway.cleanup.garbage import Found
from gateway.views.accounts import AccountView, NewTokenView, ProfileView, TokenView
from gateway.views.fleet import Overview
from gateway.views.resources import (
    CollectionItem,
    CollectionView,
    DeliveryView,
    DeploymentView,
    HardwareView,
    HealthView,
    ModelView,
    PredictionView,
    PushView,
    ReleaseView,
    SearchView,
    SecretView,
    TrainingView,
    UploadView,
    VersionView,
)

JSON: Final = ("application/json",)
TEXT: Final = ("text/plain; charset=utf-8",)
EVENTS: Final = ("text/event-stream; charset=utf-8",)
ANY: Final = ("*/*",)


class Says(Struct, frozen=True):
    statuses: tuple[int, ...] = (200,)
    body: type[Struct] | None = None
    """Of JSON; None: a text, or bytes."""
    loose: bool = False
    """An object of which no more is said here."""
    many: Literal["page", "array"] | None = None
    media: tuple[str, ...] = JSON
    empty: bool = False
    refuses: tuple[int, ...] = ()
    """Statuses that do not follow from what kind of operation it is."""
    problems: bool = True
    """Refusals are problems, as RFC 9457 has it; else errors in OpenAI's shape."""


DONE: Final = Says((204,), empty=True)
OPENAI: Final = Says(media=(*JSON, *EVENTS), loose=True, refuses=(404, 499, 500), problems=False)
CREATES: Final = Says((201, 202), PredictionView)

ANSWERS: Final[dict[str, Says]] = {
    "account.get": Says(body=AccountView),
    "accounts.create": Says((201,), ProfileView),
    "accounts.delete": Says((204,), empty=True, refuses=(422,)),
    "accounts.get": Says(body=ProfileView, refuses=(403,)),
    "accounts.list": Says(body=ProfileView, many="page", refuses=(400, 403)),
    "accounts.update": Says(body=ProfileView),
    "collections.create": Says((201,), CollectionView),
    "collections.delete": DONE,
    "collections.get": Says(body=CollectionView),
    "collections.list": Says(body=CollectionItem, many="page"),
    "collections.update": Says(body=CollectionView),
    "deployments.create": Says(body=DeploymentView),
    "deployments.delete": Says((204,), empty=True, refuses=(422,)),
    "deployments.get": Says(body=DeploymentView),
    "deployments.list": Says(body=DeploymentView, many="page"),
    "deployments.predictions.create": CREATES,
    "deployments.releases.list": Says(body=ReleaseView, many="page"),
    "deployments.rollback": Says(body=DeploymentView),
    "deployments.update": Says(body=DeploymentView),
    "files.create": Says((201,), UploadView),
    "files.delete": DONE,
    "files.download": Says((200, 206, 304), media=("application/octet-stream",), refuses=(416,)),
    "files.download.head": Says((200, 304), empty=True),
    "files.get": Says(body=UploadView, media=(*JSON, *EVENTS)),
    "files.list": Says(body=UploadView, many="page"),
    "gc.free": Says(body=Found),
    "gc.survey": Says(body=Found, refuses=(403,)),
    "hardware.list": Says(body=HardwareView, many="array"),
    "health.live": Says(body=HealthView),
    "health.ready": Says((200, 503), HealthView),
    "metrics.get": Says(media=("text/plain; version=1.0.0; charset=utf-8",)),
    "models.create": Says((201,), ModelView),
    "models.delete": Says((204,), empty=True, refuses=(422,)),
    "models.examples.create": Says((200, 201), PredictionView),
    "models.examples.delete": DONE,
    "models.examples.list": Says(body=PredictionView, many="page"),
    "models.get": Says(body=ModelView),
    "models.list": Says(body=ModelView, many="page"),
    "models.predictions.create": CREATES,
    "models.readme.get": Says(media=TEXT),
    "models.update": Says(body=ModelView),
    "models.versions.delete": Says((202,), empty=True, refuses=(422,)),
    "models.versions.get": Says(body=VersionView),
    "models.versions.list": Says(body=VersionView, many="page"),
    "models.versions.logs": Says(media=TEXT),
    "models.versions.push": Says((200, 201), PushView),
    "openai.chat": OPENAI,
    "openai.completions": OPENAI,
    "openai.embeddings": OPENAI,
    "openai.models.get": OPENAI,
    "openai.models.list": OPENAI,
    "outputs.get": Says((200, 206, 304), media=ANY, refuses=(416,)),
    "outputs.head": Says((200, 304), empty=True),
    "predictions.cancel": Says(body=PredictionView),
    "predictions.create": CREATES,
    "predictions.events": Says(media=EVENTS),
    "predictions.get": Says(body=PredictionView),
    "predictions.list": Says(body=PredictionView, many="page"),
    "pushes.cancel": Says(body=PushView),
    "pushes.get": Says(body=PushView),
    "runners.events": Says(media=EVENTS),
    "runners.list": Says(body=Overview),
    "search": Says(body=SearchView),
    "streams.get": Says(media=EVENTS),
    "tokens.create": Says((201,), NewTokenView),
    "tokens.delete": DONE,
    "tokens.list": Says(body=TokenView, many="page", refuses=(400, 403, 404)),
    "trainings.cancel": Says(body=TrainingView),
    "trainings.create": Says((201,), TrainingView),
    "trainings.get": Says(body=TrainingView),
    "trainings.list": Says(body=TrainingView, many="page", refuses=(400,)),
    "webhooks.default.secret.get": Says(body=SecretView),
    "webhooks.default.secret.rotate": Says(body=SecretView),
    "webhooks.deliveries.get": Says(body=DeliveryView),
    "webhooks.deliveries.list": Says(body=DeliveryView, many="page"),
    "webhooks.deliveries.redeliver": Says(body=DeliveryView, refuses=(422,)),
}
