"""Resources as clients see them: absolute URLs, Replicate's field names, no nulls where clients choke on them."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from msgspec import UNSET, Raw, Struct, UnsetType, json, structs

from gateway.catalog.catalog import Version
from gateway.ids import Capabilities
from gateway.predictions import inputs
from gateway.predictions.training_output import answer, output_of
from gateway.store.models import Model
from gateway.store.uploads import Upload
from gateway.times import rfc3339
from schemas.prediction import FINAL, Prediction, Status


class PredictionView(Struct, kw_only=True):
    id: str
    model: str
    version: str
    input: Raw
    logs: str
    output: Raw | None
    data_removed: bool
    error: str | None
    source: str
    status: str
    starting: str | UnsetType = UNSET
    """Why it has not begun, while it has not. Replicate's has no such field; its clients pass over it."""
    created_at: str
    started_at: str | UnsetType = UNSET
    completed_at: str | UnsetType = UNSET
    deadline: str | UnsetType = UNSET
    deployment: str | UnsetType = UNSET
    webhook: str | UnsetType = UNSET
    webhook_events_filter: tuple[str, ...] | UnsetType = UNSET
    metrics: dict[str, Any] | UnsetType = UNSET
    urls: dict[str, str]


class PushView(Struct, kw_only=True):
    id: str
    model: str
    version: str
    status: str
    logs: str
    error: str | None
    created_at: str
    started_at: str | UnsetType = UNSET
    completed_at: str | UnsetType = UNSET
    metrics: dict[str, Any] | UnsetType = UNSET
    urls: dict[str, str]


class TrainingView(Struct, kw_only=True):
    id: str
    model: str
    version: str
    destination: str | None
    input: Raw
    logs: str
    output: Raw | None
    data_removed: bool
    error: str | None
    source: str
    status: str
    created_at: str
    started_at: str | UnsetType = UNSET
    completed_at: str | UnsetType = UNSET
    deadline: str | UnsetType = UNSET
    webhook: str | UnsetType = UNSET
    webhook_events_filter: tuple[str, ...] | UnsetType = UNSET
    metrics: dict[str, Any] | UnsetType = UNSET
    urls: dict[str, str]


class UploadView(Struct, kw_only=True):
    id: str
    name: str
    content_type: str
    size: int
    etag: str
    checksums: dict[str, str]
    metadata: Raw
    created_at: str
    expires_at: str
    urls: dict[str, str]


class VersionView(Struct, kw_only=True):
    id: str
    created_at: str
    cog_version: str
    openapi_schema: Raw
    labels: dict[str, str] | UnsetType = UNSET
    """What it says of itself. Replicate's has no such field; its clients pass over it."""


class ModelView(Struct, kw_only=True):
    url: str
    owner: str
    name: str
    description: str | None
    visibility: str
    is_official: bool
    github_url: str | None
    paper_url: str | None
    license_url: str | None
    run_count: int
    cover_image_url: str | None
    default_example: PredictionView | None
    latest_version: VersionView | None
    created_at: str


class CollectionItem(Struct, kw_only=True):
    name: str
    slug: str
    description: str


class CollectionView(CollectionItem, kw_only=True):
    full_description: str | None
    models: list[ModelView]


class FoundModel(Struct, kw_only=True):
    model: ModelView
    metadata: dict[str, Any]
    """generated_description, tags, score: higher fits better."""


class SearchView(Struct, kw_only=True):
    query: str
    models: list[FoundModel]
    collections: list[dict[str, Any]]
    pages: list[dict[str, str]]


class AttemptView(Struct, kw_only=True):
    at: str
    seconds: float
    status: int | None
    error: str | None


class DeliveryView(Struct, kw_only=True):
    id: str
    prediction: str
    event: str
    webhook: str
    state: str
    created_at: str
    next_attempt_at: str | UnsetType = UNSET
    completed_at: str | UnsetType = UNSET
    attempts: list[AttemptView]
    urls: dict[str, str]


class ConfigurationView(Struct, kw_only=True):
    hardware: str
    min_instances: int
    max_instances: int


class ReleaseView(Struct, kw_only=True):
    number: int
    model: str
    version: str
    created_at: str
    created_by: dict[str, str] | None
    configuration: ConfigurationView


class StateView(Struct, kw_only=True):
    """How a release stands on the runners."""

    number: int
    version: str
    warm: bool
    starting: str | UnsetType = UNSET
    """Why it is not warm, if it is to be."""
    error: str | UnsetType = UNSET
    """Why it could not be set up, when that was tried last."""


class DeploymentView(Struct, kw_only=True):
    owner: str
    name: str
    current_release: ReleaseView
    serving: StateView
    """The release that takes predictions."""
    upcoming: StateView | UnsetType = UNSET
    """The newest release, until it takes them."""


class HardwareView(Struct, kw_only=True):
    sku: str
    name: str


class SecretView(Struct, kw_only=True):
    key: str
    """whsec_ and base64, as Standard Webhooks has it."""


class HealthView(Struct, kw_only=True):
    status: str
    checks: dict[str, bool] | UnsetType = UNSET


class Page(Struct, kw_only=True):
    next: str | None
    previous: str | None
    results: list[Any]


class Views:
    """What one client sees: all URLs begin with the base that it called.

    `reason` says why no runner has begun with a prediction of a version.
    """

    def __init__(self, base: str, capabilities: Capabilities, reason: Callable[[Version], str]) -> None:
        self.base = base
        self._capabilities = capabilities
        self._reason = reason

    def prediction(self, p: Prediction, version: Version | None) -> PredictionView:
        return PredictionView(
            **_life(p),
            **self._asked(p),
            output=self.output(p),
            starting=self._reason(version) if version and p.status is Status.STARTING else UNSET,
            deployment=p.deployment or UNSET,
            urls=self.urls(p.id, version),
        )

    def waiting(self, p: Prediction, version: Version) -> PredictionView:
        """A wait that ran out: clients take any status but `starting` for the end (replicate-python 1.0.7)."""
        view = self.prediction(p, version)
        view.status, view.output, view.logs, view.started_at = Status.STARTING.value, None, "", UNSET
        return view

    def urls(self, id: str, version: Version | None) -> dict[str, str]:
        get = f"{self.base}/v1/predictions/{id}"
        urls = {"get": get, "cancel": f"{get}/cancel", "web": f"{self.base}/p/{id}"}
        if version is not None and version.streamable:
            token = self._capabilities.token(id)
            # The JavaScript client takes a stream for one of files by its path.
            urls["stream"] = f"{self.base}/v1/files/str-{token}" if version.files else f"{self.base}/v1/streams/{token}"
        return urls

    def output(self, p: Prediction) -> Raw | None:
        output = p.output
        return self.shown(p, output) if output is not None and p.files else output

    def shown(self, p: Prediction, value: Raw) -> Raw:
        """A value with the URLs of its files; keys are ours alone, and JSON leaves them as they are."""
        text = bytes(value)
        for key in p.files:
            text = text.replace(b'"file:%b"' % key.encode(), json.encode(self.file(key)))
        return Raw(text)

    def chunk(self, p: Prediction, value: Raw) -> bytes:
        """As the data of an `output` event: a string is sent bare, so that tokens join up as prose."""
        text = bytes(self.shown(p, value)) if p.files else bytes(value)
        return json.decode(text, type=str).encode() if text.startswith(b'"') else text

    def file(self, key: str) -> str:
        return f"{self.base}/v1/outputs/{quote(key.removeprefix('out/'))}"

    def _file_url(self, key: str) -> str:
        """Of an input that is one of our own files."""
        return f"{self.base}/v1/files/{key.split('/')[1]}" if key.startswith("up/") else self.file(key)

    def push(self, p: Prediction) -> PushView:
        get = f"{self.base}/v1/pushes/{p.id}"
        stream = f"{self.base}/v1/streams/{self._capabilities.token(p.id)}"
        return PushView(**_life(p), urls={"get": get, "cancel": f"{get}/cancel", "stream": stream})

    def training(self, p: Prediction) -> TrainingView:
        """One that is settled: what it says of a version is true."""
        get = f"{self.base}/v1/trainings/{p.id}"
        stream = f"{self.base}/v1/streams/{self._capabilities.token(p.id)}"
        return TrainingView(
            **_life(p),
            **self._asked(p),
            destination=p.destination,
            output=self._trained(p),
            urls={"get": get, "cancel": f"{get}/cancel", "web": f"{self.base}/p/{p.id}", "stream": stream},
        )

    def _asked(self, p: Prediction) -> dict[str, Any]:
        """What its creator wanted, and is told again."""
        return {
            "input": inputs.shown(p.input, self._file_url),
            "data_removed": p.data_removed,
            "source": p.source,
            "deadline": rfc3339(p.deadline) if p.deadline else UNSET,
            "webhook": p.webhook or UNSET,
            "webhook_events_filter": UNSET if p.webhook_events is None else p.webhook_events,
        }

    def _trained(self, p: Prediction) -> Raw | None:
        if p.status is not Status.SUCCEEDED or (trained := answer(p)) is None:
            return None
        output = output_of(p, self.file(trained.weights.key))
        return self.shown(p, output) if output is not None else None

    def upload(self, upload: Upload, download: str) -> UploadView:
        return UploadView(
            id=upload.id,
            name=upload.name,
            content_type=upload.content_type,
            size=upload.size,
            etag=upload.md5,
            checksums={"sha256": upload.sha256, "md5": upload.md5},
            metadata=upload.metadata,
            created_at=rfc3339(upload.created_at),
            expires_at=rfc3339(upload.expires_at),
            urls={"get": f"{self.base}/v1/files/{upload.id}", "download": self.base + download},
        )

    def example(self, p: Prediction, version: Version | None) -> PredictionView:
        """A prediction as everybody may see it: where its owner was told of it is nobody else's business."""
        return self.prediction(structs.replace(p, webhook=None, webhook_events=None, deployment=None), version)

    def model(self, model: Model, latest: Version | None, example: PredictionView | None = None) -> ModelView:
        return ModelView(
            url=f"{self.base}/{model.owner}/{model.name}",
            owner=model.owner,
            name=model.name,
            description=model.description,
            visibility=model.visibility,
            is_official=False,
            github_url=model.github_url,
            paper_url=model.paper_url,
            license_url=model.license_url,
            run_count=model.run_count,
            cover_image_url=model.cover_image_url,
            default_example=example,
            latest_version=version_view(latest) if latest else None,
            created_at=rfc3339(model.created_at),
        )


def version_view(version: Version) -> VersionView:
    return VersionView(
        id=version.id,
        created_at=rfc3339(version.created_at),
        cog_version=version.cog_version,
        openapi_schema=version.openapi_schema,
        labels=version.labels or UNSET,
    )


def _life(p: Prediction) -> dict[str, Any]:
    """What predictions, pushes and trainings have in common."""
    return {
        "id": p.id,
        "model": p.model,
        "version": p.version,
        "logs": p.logs,
        "error": p.error,
        "status": p.status.value,
        "created_at": rfc3339(p.created_at),
        "started_at": rfc3339(p.started_at) if p.started_at else UNSET,
        "completed_at": rfc3339(p.completed_at) if p.completed_at else UNSET,
        "metrics": metrics(p) if p.status in FINAL else UNSET,
    }


def metrics(p: Prediction) -> dict[str, Any]:
    """`total_time` is from creation to end, in seconds; the rest was measured where the model ran."""
    assert p.completed_at is not None
    return {**p.metrics, "total_time": round(max((p.completed_at - p.created_at).total_seconds(), 0.0), 6)}
