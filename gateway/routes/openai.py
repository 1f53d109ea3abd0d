"""/openai/v1: chat, completions and embeddings, as OpenAI's clients ask for them."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, Final, Literal, TypeVar

import structlog
from litestar import Response, Router, get, post, route
from litestar.background_tasks import BackgroundTask
from litestar.exceptions import HTTPException
from litestar.params import FromPath
from litestar.response import Stream

from gateway import errors
from gateway.catalog.catalog import Version
from gateway.errors import GatewayError, InvalidInput, NotFound, UnknownVersion
from gateway.http import bodies, context
from gateway.http.attached_run import Completing, Left, all_of, drawn, held
from gateway.http.context import AnyRequest, answer, caller, header, parts
from gateway.http.event_stream import Events
from gateway.openai import mapping, problems, requests, responses
from gateway.openai.mapping import Mapped, Schema
from gateway.openai.problems import Misfit, ModelFailed, NoModel, Refused
from gateway.openai.requests import Asked, Chat, Completion, Embedding, Generating
from gateway.openai.responses import Finish, Writing
from gateway.openai.text_stream import Telling
from gateway.routes.openai_operations import ChatOperation, CompletionOperation, EmbeddingOperation
from gateway.store.accounts import Account
from schemas.prediction import Prediction, Status

log = structlog.get_logger("samovar.openai")

T = TypeVar("T", bound=Asked)

LABEL: Final = "openai"
MOST: Final = 1000
LEFT: Final = 499  # nobody reads it; it is what others log of a client that has left


@post("/chat/completions", operation_id="openai.chat", operation_class=ChatOperation)
async def chat(request: AnyRequest) -> Response[bytes] | Stream:
    """Go on with a conversation."""
    account, asked, others = await _asked(request, Chat)
    version = await _version(request, account, asked.model, "chat")
    return await _generated(request, account, version, asked, "chat", mapping.chat(asked, others, _schema(version)))


@post("/completions", operation_id="openai.completions", operation_class=CompletionOperation)
async def completions(request: AnyRequest) -> Response[bytes] | Stream:
    """Go on with a text."""
    account, asked, others = await _asked(request, Completion)
    version = await _version(request, account, asked.model, "completions")
    mapped = mapping.completion(asked, others, _schema(version))
    return await _generated(request, account, version, asked, "text", mapped)


@post("/embeddings", operation_id="openai.embeddings", operation_class=EmbeddingOperation)
async def embeddings(request: AnyRequest) -> Response[bytes]:
    """A vector for each text. Each is a prediction, so that they are computed together."""
    account, asked, others = await _asked(request, Embedding)
    version = await _version(request, account, asked.model, "embeddings")
    mapped = [mapping.embedding(text, others, _schema(version)) for text in asked.texts]
    ended = await held(request.receive, all_of(partial(_embedded, request, account, version), mapped))
    return answer(responses.embeddings(asked.model, ended, packed=asked.encoding_format == "base64"))


@get("/models", operation_id="openai.models.list")
async def models(request: AnyRequest) -> Response[bytes]:
    """Those that say of themselves that they can be used here."""
    found = await parts(request).models.labelled(LABEL, await caller(request), MOST)
    return answer({"object": "list", "data": [responses.model(each) for each in found]})


@get("/models/{model:path}", operation_id="openai.models.get")
async def model(request: AnyRequest, model: FromPath[str]) -> Response[bytes]:
    account = await caller(request)
    version = await _referred(request, account, str(model).lstrip("/"))
    return answer(responses.model(await parts(request).catalog.model(version.owner, version.name, account)))


@route("/{path:path}", http_method=["GET", "POST", "DELETE"], include_in_schema=False)
async def unknown(path: FromPath[str]) -> None:
    """Whatever else OpenAI's clients know."""
    raise NotFound(f"There is no {str(path)[:200]} here: chat/completions, completions, embeddings and models are.")


async def _asked(request: AnyRequest, kind: type[T]) -> tuple[Account, T, dict[str, Any]]:
    """Who asks, for what, and all fields that we know nothing of."""
    account = await caller(request, "predict", create=True)
    content = await context.body(request)
    media_type, deepest = header(request, b"content-type") or "", parts(request).settings.max_depth
    fields = bodies.decoded(content, media_type, deepest, dict[str, Any])
    asked = bodies.converted(fields, kind)
    return account, asked, requests.others(fields, asked)


async def _version(request: AnyRequest, account: Account, name: str, use: str) -> Version:
    """Raises `NoModel`, and `Refused` for one that is not for this use."""
    version = await _referred(request, account, name)
    if use not in version.labels.get(LABEL, "").split(","):
        raise Refused("model", f"{version.model} has no label {LABEL}={use}, so it cannot be used for this.")
    return version


async def _referred(request: AnyRequest, account: Account, name: str) -> Version:
    try:
        return await parts(request).catalog.refer(name, account)
    except (UnknownVersion, NotFound) as error:
        raise NoModel(name) from error


def _schema(version: Version) -> Schema:
    return Schema(version.validator.properties, version.validator.required)


async def _generated(
    request: AnyRequest,
    account: Account,
    version: Version,
    asked: Generating,
    kind: Literal["chat", "text"],
    mapped: Mapped,
) -> Response[bytes] | Stream:
    running = await _drawn(request, account, version, mapped)
    writing = responses.writing(kind, running.p, asked.model, usage_wanted=asked.usage_wanted)
    telling = Telling(mapped.cuts)
    if not asked.stream:
        return answer(await held(request.receive, _whole(running, telling, writing, mapped.limit)))
    await running.create()
    content = _streamed(running, telling, writing, mapped.limit)
    # Also when the client has left.
    return Events(content, parts(request).settings.keep_alive, background=BackgroundTask(running.leave))


async def _embedded(request: AnyRequest, account: Account, version: Version, mapped: Mapped) -> Prediction:
    p = await (await _drawn(request, account, version, mapped)).run()
    _check(p)
    return p


async def _drawn(request: AnyRequest, account: Account, version: Version, mapped: Mapped) -> Completing:
    try:
        return await drawn(request, account, version, mapped.input)
    except InvalidInput as error:
        raise Misfit(error, mapped.names) from error


async def _whole(running: Completing, telling: Telling, writing: Writing, limit: int | None) -> dict[str, Any]:
    try:
        await running.create()
        text = "".join([piece async for piece in _pieces(running, telling)])
    finally:
        await running.leave()
    return writing.whole(text, _finish(running, telling, limit), responses.usage(running.p))


async def _streamed(
    running: Completing, telling: Telling, writing: Writing, limit: int | None
) -> AsyncGenerator[bytes]:
    yield writing.opening()
    try:
        async with aclosing(_pieces(running, telling)) as pieces:
            async for piece in pieces:
                yield writing.piece(piece)
        yield writing.closing(_finish(running, telling, limit), responses.usage(running.p))
    except GatewayError as error:
        yield responses.frame(problems.answer(error).body)


async def _pieces(running: Completing, telling: Telling) -> AsyncGenerator[str]:
    """The text as it comes; what has said enough is stopped. Raises `ModelFailed`."""
    async with aclosing(running.states()) as states:
        async for p in states:
            stopped = telling.cut
            if piece := telling.next(p):
                yield piece
            if telling.cut and not stopped:
                await running.leave()
    if not telling.cut:
        _check(running.p)


def _finish(running: Completing, telling: Telling, limit: int | None) -> Finish:
    return responses.finish(running.p, limit, cut=telling.cut)


def _check(p: Prediction) -> None:
    """Raises `ModelFailed`."""
    if p.status is not Status.SUCCEEDED:
        raise ModelFailed(p.error or f"The prediction {p.id} was {p.status.value}.")


def as_answer(_: AnyRequest, error: GatewayError) -> Response[Any]:
    found = problems.answer(error)
    return Response(found.body, status_code=found.status, headers=found.headers)


def as_framework_answer(request: AnyRequest, error: HTTPException) -> Response[Any]:
    """What litestar itself refuses."""
    if error.status_code >= 500:
        return as_fault(request, error)
    known = {404: errors.NotFound, 405: errors.MethodNotAllowed, 413: errors.BodyTooLarge}
    kind = known.get(error.status_code)
    return as_answer(request, kind() if kind else errors.BadRequest(error.detail))


def as_fault(request: AnyRequest, error: Exception) -> Response[Any]:
    log.error("request_failed", method=request.method, path=request.url.path, exc_info=error)
    return as_answer(request, GatewayError())


def as_left(_: AnyRequest, __: Left) -> Response[Any]:
    return Response(None, status_code=LEFT)


HANDLERS: Final[dict[type[Exception], Callable[..., Response[Any]]]] = {
    GatewayError: as_answer,
    HTTPException: as_framework_answer,
    Left: as_left,
    Exception: as_fault,
}
HANDLED: Final[Sequence[Any]] = chat, completions, embeddings, models, model, unknown

router: Router = Router("/openai/v1", route_handlers=HANDLED, exception_handlers={**HANDLERS}, tags=["openai"])
