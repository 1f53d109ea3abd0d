"""/openai/v1: chat completions, completions, embeddings and models, with OpenAI's API."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, Final, Literal, TypeVar

import structlog
from litestar import Response, Router, get, post, route
from litestar.background_tasks import BackgroundTask
from litestar.di import NamedDependency
from litestar.exceptions import HTTPException
from litestar.params import FromPath
from litestar.response import Stream

from gateway import errors
from gateway.catalog.catalog import Catalog, Version
from gateway.errors import GatewayError, InvalidInput, NotFound, UnknownVersion
from gateway.http import asgi, bodies
from gateway.http.asgi import AnyRequest, get_services, header, json_response
from gateway.http.attached_run import AttachedRun, ClientLeft, prepare_run, run_all, run_while_connected
from gateway.http.context import authenticate
from gateway.http.event_stream import EventStream
from gateway.openai import mapping, problems, requests, responses
from gateway.openai.mapping import InputSchema, MappedInput
from gateway.openai.problems import InputMismatch, ModelFailed, UnknownModel, UnsupportedField
from gateway.openai.requests import ChatRequest, CompletionRequest, EmbeddingRequest, GenerationRequest, OpenAIRequest
from gateway.openai.responses import FinishReason, ResponseWriter
from gateway.openai.text_stream import TextStream
from gateway.openapi.operations import openai_operation
from gateway.store.accounts import Account
from gateway.store.models import ModelStore
from schemas.prediction import Prediction, Status

log = structlog.get_logger("samovar.openai")

T = TypeVar("T", bound=OpenAIRequest)

LABEL: Final = "openai"
MAX_MODELS: Final = 1000
CLIENT_LEFT_STATUS: Final = 499  # nobody reads it; other servers log it for a client that has left


@post(
    "/chat/completions",
    operation_id="openai.chat",
    operation_class=openai_operation(ChatRequest, has_sampling=True),
    status_code=200,
)
async def create_chat_completion(request: AnyRequest) -> Response[bytes] | Stream:
    """Create a chat completion."""
    account, body, others = await _read_request(request, ChatRequest)
    version = await _find_version(get_services(request).models.catalog, account, body.model, "chat")
    return await _generate(
        request, account, version, body, "chat", mapping.map_chat(body, others, _input_schema(version))
    )


@post(
    "/completions",
    operation_id="openai.completions",
    operation_class=openai_operation(CompletionRequest, has_sampling=True),
    status_code=200,
)
async def create_completion(request: AnyRequest) -> Response[bytes] | Stream:
    """Create a text completion."""
    account, body, others = await _read_request(request, CompletionRequest)
    version = await _find_version(get_services(request).models.catalog, account, body.model, "completions")
    mapped = mapping.map_completion(body, others, _input_schema(version))
    return await _generate(request, account, version, body, "text", mapped)


@post(
    "/embeddings", operation_id="openai.embeddings", operation_class=openai_operation(EmbeddingRequest), status_code=200
)
async def create_embeddings(request: AnyRequest) -> Response[bytes]:
    """Create embeddings, one vector for each text.

    Each text is a prediction, so that they are computed together in batches.
    """
    account, body, others = await _read_request(request, EmbeddingRequest)
    version = await _find_version(get_services(request).models.catalog, account, body.model, "embeddings")
    mapped = [mapping.map_embedding(text, others, _input_schema(version)) for text in body.texts]
    predictions = await run_while_connected(
        request.receive, run_all(partial(_embed, request, account, version), mapped)
    )
    return json_response(responses.embeddings(body.model, predictions, is_base64=body.encoding_format == "base64"))


@get("/models", operation_id="openai.models.list", operation_class=openai_operation())
async def list_models(request: AnyRequest, model_store: NamedDependency[ModelStore]) -> Response[bytes]:
    """List the models that declare themselves usable with OpenAI's API."""
    models = await model_store.list_by_label(LABEL, await authenticate(request), MAX_MODELS)
    return json_response({"object": "list", "data": [responses.model_object(each) for each in models]})


@get("/models/{model:path}", operation_id="openai.models.get", operation_class=openai_operation())
async def get_model(request: AnyRequest, model: FromPath[str], catalog: NamedDependency[Catalog]) -> Response[bytes]:
    """Get a model."""
    account = await authenticate(request)
    version = await _resolve(catalog, account, str(model).lstrip("/"))
    return json_response(responses.model_object(await catalog.get_model(version.owner, version.name, account)))


@route("/{path:path}", http_method=["GET", "POST", "DELETE"], include_in_schema=False)
async def refuse_unknown(path: FromPath[str]) -> None:
    """Answer 404 for whatever else OpenAI's clients know."""
    raise NotFound(f"There is no {str(path)[:200]} here: chat/completions, completions, embeddings and models are.")


class TextGeneration:
    """One completion: the run of a model, the text that comes of it, and the writer of its responses."""

    def __init__(self, run: AttachedRun, mapped: MappedInput, writer: ResponseWriter) -> None:
        self.run = run
        self._text = TextStream(mapped.stops)
        self._writer = writer
        self._limit = mapped.limit

    async def complete(self) -> dict[str, Any]:
        """Run the model and return the whole response. Raises `ModelFailed`."""
        try:
            await self.run.submit()
            text = "".join([piece async for piece in self._pieces()])
        finally:
            await self.run.cancel()
        return self._writer.whole_response(text, self._finish_reason(), responses.usage(self.run.prediction))

    async def chunks(self) -> AsyncGenerator[bytes]:
        """Yield the frames of a streamed response; an error is the last of them."""
        yield self._writer.first_chunk()
        try:
            async with aclosing(self._pieces()) as pieces:
                async for piece in pieces:
                    yield self._writer.text_chunk(piece)
            yield self._writer.last_chunks(self._finish_reason(), responses.usage(self.run.prediction))
        except GatewayError as error:
            yield responses.encode_frame(problems.error_response(error).body)

    async def _pieces(self) -> AsyncGenerator[str]:
        """Yield the text as it comes; cancel the run once the text has reached a stop. Raises `ModelFailed`."""
        async with aclosing(self.run.states()) as states:
            async for p in states:
                was_stopped = self._text.is_stopped
                if piece := self._text.next_text(p):
                    yield piece
                if self._text.is_stopped and not was_stopped:
                    await self.run.cancel()
        if not self._text.is_stopped:
            _check_success(self.run.prediction)

    def _finish_reason(self) -> FinishReason:
        return responses.finish_reason(self.run.prediction, self._limit, is_stopped=self._text.is_stopped)


async def _read_request(request: AnyRequest, kind: type[T]) -> tuple[Account, T, dict[str, Any]]:
    """Return the account, the request, and the fields of its body that OpenAI's API does not have."""
    account = await authenticate(request, "predict", create=True)
    content = await asgi.read_body(request)
    media_type, max_depth = header(request, b"content-type") or "", get_services(request).settings.max_depth
    fields = bodies.decode_json(content, media_type, max_depth, dict[str, Any])
    body = bodies.convert_fields(fields, kind)
    return account, body, requests.unknown_fields(fields, body)


async def _find_version(catalog: Catalog, account: Account, name: str, use: str) -> Version:
    """Return a version that can be used so. Raises `UnknownModel`, or `UnsupportedField` for one that cannot."""
    version = await _resolve(catalog, account, name)
    if use not in version.labels.get(LABEL, "").split(","):
        raise UnsupportedField("model", f"{version.model} has no label {LABEL}={use}, so it cannot be used for this.")
    return version


async def _resolve(catalog: Catalog, account: Account, name: str) -> Version:
    try:
        return await catalog.resolve(name, account)
    except (UnknownVersion, NotFound) as error:
        raise UnknownModel(name) from error


def _input_schema(version: Version) -> InputSchema:
    return InputSchema(version.validator.properties, version.validator.required)


async def _generate(
    request: AnyRequest,
    account: Account,
    version: Version,
    body: GenerationRequest,
    kind: Literal["chat", "text"],
    mapped: MappedInput,
) -> Response[bytes] | Stream:
    run = await _prepare_run(request, account, version, mapped)
    writer = responses.create_writer(kind, run.prediction, body.model, includes_usage=body.includes_usage)
    generation = TextGeneration(run, mapped, writer)
    if not body.stream:
        return json_response(await run_while_connected(request.receive, generation.complete()))
    await run.submit()
    keep_alive = get_services(request).settings.keep_alive
    # The run is canceled also when the client has left.
    return EventStream(generation.chunks(), keep_alive, background=BackgroundTask(run.cancel))


async def _embed(request: AnyRequest, account: Account, version: Version, mapped: MappedInput) -> Prediction:
    run = await _prepare_run(request, account, version, mapped)
    p = await run.complete()
    _check_success(p)
    return p


async def _prepare_run(request: AnyRequest, account: Account, version: Version, mapped: MappedInput) -> AttachedRun:
    try:
        return await prepare_run(request, account, version, mapped.input)
    except InvalidInput as error:
        raise InputMismatch(error, mapped.field_names) from error


def _check_success(p: Prediction) -> None:
    """Raise `ModelFailed` for a prediction that did not succeed."""
    if p.status is not Status.SUCCEEDED:
        raise ModelFailed(p.error or f"The prediction {p.id} was {p.status.value}.")


def error_response(_: AnyRequest, error: GatewayError) -> Response[Any]:
    """Answer an error of ours as OpenAI's API does."""
    response = problems.error_response(error)
    return Response(response.body, status_code=response.status, headers=response.headers)


def framework_error_response(request: AnyRequest, error: HTTPException) -> Response[Any]:
    """Answer what litestar itself refuses."""
    if error.status_code >= 500:
        return server_error_response(request, error)
    error_types = {404: errors.NotFound, 405: errors.MethodNotAllowed, 413: errors.BodyTooLarge}
    error_type = error_types.get(error.status_code)
    return error_response(request, error_type() if error_type else errors.BadRequest(error.detail))


def server_error_response(request: AnyRequest, error: Exception) -> Response[Any]:
    """Log an unexpected error and answer 500."""
    log.error("request_failed", method=request.method, path=request.url.path, exc_info=error)
    return error_response(request, GatewayError())


def client_left_response(_: AnyRequest, __: ClientLeft) -> Response[Any]:
    """End the request of a client that has left."""
    return Response(None, status_code=CLIENT_LEFT_STATUS)


ERROR_RESPONSES: Final[dict[type[Exception], Callable[..., Response[Any]]]] = {
    GatewayError: error_response,
    HTTPException: framework_error_response,
    ClientLeft: client_left_response,
    Exception: server_error_response,
}
ROUTES: Final[Sequence[Any]] = (
    create_chat_completion,
    create_completion,
    create_embeddings,
    list_models,
    get_model,
    refuse_unknown,
)

router: Router = Router("/openai/v1", route_handlers=ROUTES, exception_handlers={**ERROR_RESPONSES}, tags=["openai"])
