"""Resources as the API shows them: absolute URLs, Replicate's field names, no nulls where clients fail on them."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from msgspec import UNSET, Raw, Struct, UnsetType, json, structs

from gateway.catalog.catalog import Version
from gateway.ids import Capabilities
from gateway.predictions import inputs
from gateway.predictions.training_output import parse_result, public_output
from gateway.store.models import Model
from gateway.store.uploads import Upload
from gateway.times import format_rfc3339
from gateway.urls import Url
from schemas.prediction import FINAL, Prediction, Status


class PredictionView(Struct, kw_only=True):
    """A prediction."""

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
    """Why it has not started yet. Replicate has no such field; its clients ignore it."""
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
    """A push of a model's folder."""

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
    """A training."""

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
    """An uploaded file."""

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
    """A version of a model."""

    id: str
    created_at: str
    cog_version: str
    openapi_schema: Raw
    labels: dict[str, str] | UnsetType = UNSET
    """Labels that its author gave it. Replicate has no such field; its clients ignore it."""


class ModelView(Struct, kw_only=True):
    """A model with its latest version."""

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
    """A collection in a list, without its models."""

    name: str
    slug: str
    description: str


class CollectionView(CollectionItem, kw_only=True):
    """A collection with its models."""

    full_description: str | None
    models: list[ModelView]


class FoundModel(Struct, kw_only=True):
    """A model that matches a search."""

    model: ModelView
    metadata: dict[str, Any]
    """generated_description, tags, score: higher fits better."""


class SearchView(Struct, kw_only=True):
    """The results of a search."""

    query: str
    models: list[FoundModel]
    collections: list[dict[str, Any]]
    pages: list[dict[str, str]]


class AttemptView(Struct, kw_only=True):
    """An attempt to deliver a webhook."""

    at: str
    seconds: float
    status: int | None
    error: str | None


class DeliveryView(Struct, kw_only=True):
    """A webhook delivery with its attempts."""

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
    """The hardware and instance limits of a release."""

    hardware: str
    min_instances: int
    max_instances: int


class ReleaseView(Struct, kw_only=True):
    """A release of a deployment."""

    number: int
    model: str
    version: str
    created_at: str
    created_by: dict[str, str] | None
    configuration: ConfigurationView


class StateView(Struct, kw_only=True):
    """The state of a release on the runners."""

    number: int
    version: str
    warm: bool
    starting: str | UnsetType = UNSET
    """Why it is not warm, if it should be."""
    error: str | UnsetType = UNSET
    """Why it could not be set up when that was last tried."""


class DeploymentView(Struct, kw_only=True):
    """A deployment with the states of its releases."""

    owner: str
    name: str
    current_release: ReleaseView
    serving: StateView
    """The release that takes predictions."""
    upcoming: StateView | UnsetType = UNSET
    """The newest release, until it takes them."""


class HardwareView(Struct, kw_only=True):
    """A kind of hardware."""

    sku: str
    name: str


class SecretView(Struct, kw_only=True):
    """A secret that signs webhooks."""

    key: str
    """whsec_ and base64, as Standard Webhooks has it."""


class HealthView(Struct, kw_only=True):
    """The health of a gateway."""

    status: str
    checks: dict[str, bool] | UnsetType = UNSET


class Page(Struct, kw_only=True):
    """A page of a list."""

    next: Url | None
    previous: Url | None
    results: list[Any]


class Views:
    """Builds what one client is shown: all URLs begin with the base that it called.

    `waiting_reason` says why no runner has started a prediction of a version. Made for each request.
    """

    def __init__(self, base: str, capabilities: Capabilities, waiting_reason: Callable[[Version], str]) -> None:
        self.base = base
        self._capabilities = capabilities
        self._waiting_reason = waiting_reason

    def prediction(self, p: Prediction, version: Version | None) -> PredictionView:
        """Return the view of a prediction."""
        return PredictionView(
            **_common_fields(p),
            **self._request_fields(p),
            output=self.output(p),
            starting=self._waiting_reason(version) if version and p.status is Status.STARTING else UNSET,
            deployment=p.deployment or UNSET,
            urls=self.urls(p.id, version),
        )

    def unfinished(self, p: Prediction, version: Version) -> PredictionView:
        """Return the view of a prediction whose wait ran out.

        Clients take any status but `starting` for the end (replicate-python 1.0.7).
        """
        view = self.prediction(p, version)
        view.status, view.output, view.logs, view.started_at = Status.STARTING.value, None, "", UNSET
        return view

    def urls(self, id: str, version: Version | None) -> dict[str, str]:
        """Return the URLs of a prediction, with a stream if its version has one."""
        get = f"{self.base}/v1/predictions/{id}"
        urls = {"get": get, "cancel": f"{get}/cancel", "web": f"{self.base}/p/{id}"}
        if version is not None and version.is_streamable:
            token = self._capabilities.stream_token(id)
            # The JavaScript client recognizes a stream of files by its path.
            urls["stream"] = (
                f"{self.base}/v1/files/str-{token}" if version.has_file_output else f"{self.base}/v1/streams/{token}"
            )
        return urls

    def output(self, p: Prediction) -> Raw | None:
        """Return a prediction's output with the URLs of its files."""
        output = p.output
        return self.with_file_urls(p, output) if output is not None and p.files else output

    def with_file_urls(self, p: Prediction, value: Raw) -> Raw:
        """Return a value with the URLs of its files; JSON leaves keys as they are, and only we make them."""
        text = bytes(value)
        for key in p.files:
            text = text.replace(b'"file:%b"' % key.encode(), json.encode(self.file_url(key)))
        return Raw(text)

    def chunk_text(self, p: Prediction, value: Raw) -> bytes:
        """Return the data of an `output` event: a string is sent bare, so that tokens join up as prose."""
        text = bytes(self.with_file_urls(p, value)) if p.files else bytes(value)
        return json.decode(text, type=str).encode() if text.startswith(b'"') else text

    def file_url(self, key: str) -> str:
        """Return the URL of an output file."""
        return f"{self.base}/v1/outputs/{quote(key.removeprefix('out/'))}"

    def _input_file_url(self, key: str) -> str:
        """Return the URL of an input that is one of our own files."""
        return f"{self.base}/v1/files/{key.split('/')[1]}" if key.startswith("up/") else self.file_url(key)

    def push(self, p: Prediction) -> PushView:
        """Return the view of a push."""
        get = f"{self.base}/v1/pushes/{p.id}"
        stream = f"{self.base}/v1/streams/{self._capabilities.stream_token(p.id)}"
        return PushView(**_common_fields(p), urls={"get": get, "cancel": f"{get}/cancel", "stream": stream})

    def training(self, p: Prediction) -> TrainingView:
        """Return the view of a training that is settled, so what it says of a version is true."""
        get = f"{self.base}/v1/trainings/{p.id}"
        stream = f"{self.base}/v1/streams/{self._capabilities.stream_token(p.id)}"
        return TrainingView(
            **_common_fields(p),
            **self._request_fields(p),
            destination=p.destination,
            output=self._training_output(p),
            urls={"get": get, "cancel": f"{get}/cancel", "web": f"{self.base}/p/{p.id}", "stream": stream},
        )

    def _request_fields(self, p: Prediction) -> dict[str, Any]:
        """Return the fields that the creator of a prediction sent."""
        return {
            "input": inputs.redact_input(p.input, self._input_file_url),
            "data_removed": p.data_removed,
            "source": p.source,
            "deadline": format_rfc3339(p.deadline) if p.deadline else UNSET,
            "webhook": p.webhook or UNSET,
            "webhook_events_filter": UNSET if p.webhook_events is None else p.webhook_events,
        }

    def _training_output(self, p: Prediction) -> Raw | None:
        if p.status is not Status.SUCCEEDED or (result := parse_result(p)) is None:
            return None
        output = public_output(p, self.file_url(result.weights.key))
        return self.with_file_urls(p, output) if output is not None else None

    def upload(self, upload: Upload, download: str) -> UploadView:
        """Return the view of an uploaded file."""
        return UploadView(
            id=upload.id,
            name=upload.name,
            content_type=upload.content_type,
            size=upload.size,
            etag=upload.md5,
            checksums={"sha256": upload.sha256, "md5": upload.md5},
            metadata=upload.metadata,
            created_at=format_rfc3339(upload.created_at),
            expires_at=format_rfc3339(upload.expires_at),
            urls={"get": f"{self.base}/v1/files/{upload.id}", "download": self.base + download},
        )

    def example(self, p: Prediction, version: Version | None) -> PredictionView:
        """Return the view of an example, without where its owner was notified, which is nobody else's business."""
        return self.prediction(structs.replace(p, webhook=None, webhook_events=None, deployment=None), version)

    def model(self, model: Model, latest: Version | None, example: PredictionView | None = None) -> ModelView:
        """Return the view of a model."""
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
            created_at=format_rfc3339(model.created_at),
        )


def version_view(version: Version) -> VersionView:
    """Return the view of a version."""
    return VersionView(
        id=version.id,
        created_at=format_rfc3339(version.created_at),
        cog_version=version.cog_version,
        openapi_schema=version.openapi_schema,
        labels=version.labels or UNSET,
    )


def _common_fields(p: Prediction) -> dict[str, Any]:
    """Return the fields that predictions, pushes and trainings have in common."""
    return {
        "id": p.id,
        "model": p.model,
        "version": p.version,
        "logs": p.logs,
        "error": p.error,
        "status": p.status.value,
        "created_at": format_rfc3339(p.created_at),
        "started_at": format_rfc3339(p.started_at) if p.started_at else UNSET,
        "completed_at": format_rfc3339(p.completed_at) if p.completed_at else UNSET,
        "metrics": metrics(p) if p.status in FINAL else UNSET,
    }


def metrics(p: Prediction) -> dict[str, Any]:
    """Return a prediction's metrics, in seconds.

    `total_time` is from creation to end; the rest was measured where the model ran.
    """
    assert p.completed_at is not None
    return {**p.metrics, "total_time": round(max((p.completed_at - p.created_at).total_seconds(), 0.0), 6)}
