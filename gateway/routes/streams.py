"""/streams and /outputs: whoever knows such a URL may read it, without a token."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Any, Final

from litestar import Response, Router, get, head
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Stream

from gateway.errors import NotFound
from gateway.events import sse
from gateway.files import media_types
from gateway.files.store import FileStore
from gateway.http.asgi import AnyRequest, get_services
from gateway.http.context import build_views
from gateway.http.event_stream import EventStream
from gateway.http.file_response import FileDescription, file_response, head_response, quote_etag
from gateway.http.prediction_lookup import prediction_lookup
from gateway.openapi.operations import ANY, EVENTS, file_operation, operation
from gateway.openapi.parameters import STREAM_OPTIONS
from schemas.prediction import Prediction

SAFE_HEADERS: Final = {"Content-Security-Policy": "sandbox; default-src 'none'", "X-Content-Type-Options": "nosniff"}
"""What a model wrote, or a client uploaded, must not run as a page of this site."""


@get(
    "/streams/{token:str}",
    operation_id="streams.get",
    operation_class=operation(media=EVENTS, parameters=STREAM_OPTIONS),
)
async def stream_by_url(request: AnyRequest, token: FromPath[str]) -> Stream:
    """Stream a prediction as server-sent events.

    `output`, `error` and `done` are sent, from the start or after `Last-Event-ID`. With `events=all` also `status`,
    with the reason while a prediction is starting, `logs`, `metrics` and `restarted`. A push or a training sends
    `status`, `logs`, `error` and `done`.
    """
    return await stream_by_token(request, token)


@get("/outputs/{path:path}", operation_id="outputs.get", operation_class=file_operation(*ANY))
async def download_output(
    request: AnyRequest, path: FromPath[str], file_store: NamedDependency[FileStore]
) -> Response[Any]:
    """Download an output file.

    The `Range` header may ask for a part of it.
    """
    return await file_response(request, await _describe_output(path, file_store), file_store)


@head("/outputs/{path:path}", operation_id="outputs.head", operation_class=file_operation())
async def describe_output(
    request: AnyRequest, path: FromPath[str], file_store: NamedDependency[FileStore]
) -> Response[None]:
    """Describe an output file."""
    return head_response(request, await _describe_output(path, file_store))


router: Router = Router(
    "/", route_handlers=[stream_by_url, download_output, describe_output], tags=["streams"], security=[{}]
)


async def stream_by_token(request: AnyRequest, token: str) -> Stream:
    """Stream the prediction that a stream URL is of. Raises `NotFound`."""
    services = get_services(request)
    id = services.access.capabilities.prediction_id(token)
    p = await services.predictions.prediction_store.get(id) if id is not None else None
    if p is None:
        raise NotFound
    return await stream_prediction(request, p, all_events=request.query_params.get("events") == "all")


async def stream_prediction(request: AnyRequest, p: Prediction, *, all_events: bool) -> Stream:
    """Stream a prediction, a push or a training from where the client left off."""
    services = get_services(request)
    fleet, follower = services.runners.fleet, services.predictions.follower
    position = sse.parse_event_id(request.headers.get("last-event-id") or request.query_params.get("last_event_id"))
    makes_version = p.kind != "predict"
    all_events = all_events or makes_version
    version = await prediction_lookup(request).find_version(p) if all_events and not makes_version else None
    reason = partial(fleet.waiting_reason, version) if version else None
    encoder = sse.StreamEncoder(
        position, build_views(request).chunk_text, all_events=all_events, starting_reason=reason
    )
    states = follower.watch(p.id, partial(fleet.watch, version) if version else None)
    if makes_version:
        results = services.versions
        states = results.training_results.follow(states) if p.kind == "train" else results.push_results.follow(states)
    return EventStream(_frames(states, encoder), services.settings.keep_alive)


async def _frames(states: AsyncGenerator[Prediction], encoder: sse.StreamEncoder) -> AsyncGenerator[bytes]:
    """Yield one write for each state of the prediction, however many events that makes."""
    async with aclosing(states):
        async for state in states:
            if frames := encoder.encode(state):
                yield frames
            if encoder.position.is_over:
                return


async def _describe_output(path: str, file_store: FileStore) -> FileDescription:
    stored = await file_store.stat("out/" + str(path).lstrip("/"))
    return FileDescription(
        stored=stored,
        media_type=media_types.guess_by_name(stored.key)
        or media_types.guess_by_content(await file_store.read_start(stored, media_types.SNIFF_BYTES)),
        etag=quote_etag(stored.etag),
        extra_headers={"Cache-Control": "private, max-age=31536000, immutable", **SAFE_HEADERS},
    )
