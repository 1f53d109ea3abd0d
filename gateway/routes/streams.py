"""Stream URLs and output files: whoever knows one may read it, without a token."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Any, Final

from litestar import Response, Router, get, head
from litestar.params import FromPath
from litestar.response import Stream

from gateway.errors import NotFound
from gateway.events import sse
from gateway.files import media_types
from gateway.http.context import AnyRequest, parts, views
from gateway.http.event_stream import Events
from gateway.http.file_response import Sending, described, quoted, sent
from gateway.openapi.operations import StreamOperation
from gateway.routes.predictions import known_version
from schemas.prediction import Prediction

# Whatever a model wrote, or a client uploaded, must not run as a page of this site.
SAFE: Final = {"Content-Security-Policy": "sandbox; default-src 'none'", "X-Content-Type-Options": "nosniff"}


@get("/streams/{token:str}", operation_id="streams.get", operation_class=StreamOperation)
async def stream(request: AnyRequest, token: FromPath[str]) -> Stream:
    """A prediction as server-sent events: `output`, `error`, `done`; from the start, or after `Last-Event-ID`.

    With `events=all` also `status`, which says the reason while a prediction is starting, `logs`, `metrics` and
    `restarted`. Of a push and of a training: `status`, `logs`, `error`, `done`.
    """
    here = parts(request)
    id = here.capabilities.id(token)
    p = await here.predictions.get(id) if id is not None else None
    if p is None:
        raise NotFound
    return await followed(request, p, everything=request.query_params.get("events") == "all")


async def followed(request: AnyRequest, p: Prediction, *, everything: bool) -> Stream:
    """From where the client left off."""
    here = parts(request)
    making = p.kind != "predict"
    view = views(request)
    place = sse.place(request.headers.get("last-event-id") or request.query_params.get("last_event_id"))
    everything = everything or making
    version = await known_version(request, p) if everything and not making else None
    why = partial(here.fleet.reason, version) if version else None
    feed = sse.Feed(place, view.chunk, everything=everything, why=why)
    states = here.follower.watch(p.id, partial(here.fleet.watch, version) if version else None)
    if making:
        states = here.results.follow(states) if p.kind == "train" else here.builds.follow(states)
    return Events(_frames(states, feed), here.settings.keep_alive)


@get("/outputs/{path:path}", operation_id="outputs.get")
async def output(request: AnyRequest, path: FromPath[str]) -> Response[Any]:
    """A file that a model made, or the part of it that the Range header names."""
    return await sent(request, await _output(request, path), parts(request).files)


@head("/outputs/{path:path}", operation_id="outputs.head")
async def output_head(request: AnyRequest, path: FromPath[str]) -> Response[None]:
    """What is known of it."""
    return described(request, await _output(request, path))


router: Router = Router("/", route_handlers=[stream, output, output_head], tags=["streams"], security=[{}])


async def _frames(states: AsyncGenerator[Prediction], feed: sse.Feed) -> AsyncGenerator[bytes]:
    """One write per state of the prediction, however many events that makes."""
    async with aclosing(states):
        async for state in states:
            if frames := feed.next(state):
                yield frames
            if feed.place.ended:
                return


async def _output(request: AnyRequest, path: str) -> Sending:
    files = parts(request).files
    about = await files.about("out/" + str(path).lstrip("/"))
    return Sending(
        about=about,
        media_type=media_types.by_name(about.key)
        or media_types.by_start(await files.start(about, media_types.SNIFFED)),
        etag=quoted(about.etag),
        more={"Cache-Control": "private, max-age=31536000, immutable", **SAFE},
    )
