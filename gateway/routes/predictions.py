"""/predictions: create, list, get, cancel."""

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import msgspec
from litestar import Response, Router, get, post
from litestar.params import FromPath
from msgspec import structs

from gateway import validation
from gateway.call import AnyRequest, answer, bases, caller, cursor, header, paged, parts, read, views
from gateway.catalog import Version
from gateway.errors import BadRequest, NotFound, UnknownVersion
from gateway.live import Closing
from gateway.routes.operations import CreateOperation, ListOperation
from gateway.store.accounts import Account
from gateway.store.predictions import Filter
from gateway.validation import Body
from schemas.prediction import FINAL, Prediction

A_MOMENT: Final = 1.0  # seconds that a cancel is held, so that most clients see how it ended


@post("/predictions", operation_id="predictions.create", operation_class=CreateOperation)
async def create(request: AnyRequest) -> Response[bytes]:
    """Run a version, given by its id, by `owner/name:id`, or by `owner/name` for the latest."""
    account = await caller(request, "predict")
    body = await read(request, Body)
    if body.version is None:
        raise validation.missing("version")
    return await run(request, account, await parts(request).catalog.refer(body.version, account), body)


@get("/predictions", operation_id="predictions.list", operation_class=ListOperation)
async def page(request: AnyRequest) -> Response[bytes]:
    """Your predictions, newest first."""
    account = await caller(request)
    here = parts(request)
    wanted = filters(request.query_params)
    found = await here.predictions.page(account.id, wanted, cursor(request), here.settings.page_size)
    view = views(request)
    shown = await here.follower.page(found.rows)
    return paged(request, found, [view.prediction(p, await known_version(request, p)) for p in shown])


@get("/predictions/{prediction_id:str}", operation_id="predictions.get")
async def show(request: AnyRequest, prediction_id: FromPath[str]) -> Response[bytes]:
    """A prediction as it stands now. While its status is `starting`, the field `starting` says why.

    `downloading weights`, `building`, `loading`; `queued` behind others; `waiting for a runner` that could run it.
    """
    account = await caller(request)
    return await _view(request, await find(request, prediction_id, account))


@post("/predictions/{prediction_id:str}/cancel", operation_id="predictions.cancel", status_code=200)
async def cancel(request: AnyRequest, prediction_id: FromPath[str]) -> Response[bytes]:
    """Stop a prediction. One that has ended stays as it is."""
    account = await caller(request, "predict")
    here = parts(request)
    p = await find(request, prediction_id, account)
    if p.status not in FINAL and await here.predictions.wish_canceled(p.id, account.id):
        await here.cancels.cancel(p.id)
        p = await settled(request, p)
    return await _view(request, p)


router = Router("/", route_handlers=[create, page, show, cancel], tags=["predictions"])


async def run(
    request: AnyRequest,
    account: Account,
    version: Version,
    body: Body,
    *,
    source: str = "api",
    deployment: str | None = None,
) -> Response[bytes]:
    """Create, and hold if the client would rather wait; shared by all endpoints that create."""
    here = parts(request)
    wait = validation.wait(header(request, b"prefer"), here.settings.max_wait)
    cancel_after = validation.cancel_after(header(request, b"cancel-after"))
    webhook, events = validation.hook(body)
    input = version.validator.check(body.input)
    p = here.creator.draw(account.id, version, cancel_after=cancel_after)
    p = structs.replace(p, source=source, deployment=deployment, webhook=webhook, webhook_events=events)
    p = await here.inputs.record(p, version, input, bases(request), partial(here.uploading.resolve, account.id))
    view = views(request)
    if wait is None:
        await here.creator.create(p, version)
        shown, status, headers = view.prediction(p, version), 201, {}
    else:
        p, ended = await here.creator.run(p, version, wait)
        shown = view.prediction(p, version) if ended else view.waiting(p, version)
        status, headers = 201 if ended else 202, {"Preference-Applied": f"wait={round(wait)}"}
    return answer(shown, status, {"Location": shown.urls["get"], **headers})


async def find(request: AnyRequest, id: str, account: Account) -> Prediction:
    """Raises `NotFound`, also for somebody else's."""
    p = await parts(request).follower.read(id, account.id)
    if p is None or p.kind != "predict":
        raise NotFound
    return p


async def known_version(request: AnyRequest, p: Prediction) -> Version | None:
    """None for one that is not kept any more."""
    try:
        version = await parts(request).catalog.version(p.version)
    except UnknownVersion:
        return None
    # Of a deployment's prediction: that of its release.
    return version if version.pool == p.pool else structs.replace(version, pool=p.pool)


def filters(query: Any) -> Filter:
    """Raises `BadRequest`, which names the parameter."""
    source = query.get("source")
    if source not in {None, "web", "api"}:
        raise BadRequest("source: must be web or api.")
    given = {name: moment(name, query[name]) for name in ("created_after", "created_before") if query.get(name)}
    return Filter(source=source, **given)


def moment(name: str, text: str) -> datetime:
    try:
        # A plus sign that was not escaped arrives as a blank.
        at = msgspec.convert(text.strip().replace(" ", "+") if "T" in text else text, datetime)
    except msgspec.ValidationError as error:
        raise BadRequest(f"{name}: give a moment such as 2026-01-31T12:00:00Z.") from error
    return at if at.tzinfo else at.replace(tzinfo=UTC)


async def _view(request: AnyRequest, p: Prediction) -> Response[bytes]:
    return answer(views(request).prediction(p, await known_version(request, p)))


async def settled(request: AnyRequest, p: Prediction) -> Prediction:
    """The state a moment later, or at once when it has ended."""
    try:
        async with asyncio.timeout(A_MOMENT), aclosing(parts(request).follower.watch(p.id)) as states:
            async for p in states:  # noqa: B007
                pass
    except (TimeoutError, Closing):
        pass
    return p
