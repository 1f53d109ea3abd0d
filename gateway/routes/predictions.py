"""/predictions: create, list, get, cancel."""

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from litestar import Response, Router, get, post
from litestar.params import FromPath
from msgspec import structs

from gateway import errors, metrics
from gateway.catalog.catalog import Version
from gateway.errors import BadRequest, NotFound
from gateway.events.subscriptions import Closing
from gateway.http import context
from gateway.http.context import AnyRequest, answer, bases, caller, cursor, header, paged, parts, read, views
from gateway.http.headers import parse_cancel_after, parse_prefer
from gateway.openapi.operations import CreateOperation, ListOperation
from gateway.predictions import idempotency
from gateway.predictions.request import Body, parse_webhook
from gateway.store.accounts import Account
from gateway.store.predictions import Filter
from schemas.prediction import FINAL, Prediction

A_MOMENT: Final = 1.0  # seconds that a cancel is held, so that most clients see how it ended


@post("/predictions", operation_id="predictions.create", operation_class=CreateOperation)
async def create(request: AnyRequest) -> Response[bytes]:
    """Run a version, given by its id, by `owner/name:id`, or by `owner/name` for the latest."""
    account = await caller(request, "predict", create=True)
    body = await read(request, Body)
    if body.version is None:
        raise errors.missing("version")
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
    of_each = {(p.version, p.pool): p for p in shown}
    versions = {key: await known_version(request, p) for key, p in of_each.items()}
    return paged(request, found, [view.prediction(p, versions[p.version, p.pool]) for p in shown])


@get("/predictions/{prediction_id:str}", operation_id="predictions.get")
async def show(request: AnyRequest, prediction_id: FromPath[str]) -> Response[bytes]:
    """A prediction as it stands now. While its status is `starting`, the field `starting` says why.

    `downloading weights`, `building`, `loading`; `queued` behind others; `waiting for a runner` that could run it.
    """
    account = await caller(request)
    try:
        return await _view(request, await find(request, prediction_id, account))
    except NotFound:
        example = await parts(request).examples.seen(prediction_id, account)
        if example is None:
            raise
        return answer(views(request).example(example, await known_version(request, example)))


@post("/predictions/{prediction_id:str}/cancel", operation_id="predictions.cancel", status_code=200)
async def cancel(request: AnyRequest, prediction_id: FromPath[str]) -> Response[bytes]:
    """Stop a prediction. One that has ended stays as it is."""
    account = await caller(request, "predict")
    return await _view(request, await canceled(request, await find(request, prediction_id, account)))


router = Router("/", route_handlers=[create, page, show, cancel], tags=["predictions"])


async def run(
    request: AnyRequest,
    account: Account,
    version: Version,
    body: Body,
    *,
    deployment: str | None = None,
) -> Response[bytes]:
    """Create, and hold if the client would rather wait; shared by all endpoints that create."""
    here = parts(request)
    sent = await _sent(request)
    wait = parse_prefer(header(request, b"prefer"), here.settings.max_wait)
    cancel_after = parse_cancel_after(header(request, b"cancel-after"))
    p = hooked(request, here.creator.draw(account.id, version, cancel_after=cancel_after), body)
    repeated = sent.request if sent and sent.counts else None
    p = structs.replace(p, source=context.source(request), deployment=deployment, request=repeated)
    input = version.validator.check(body.input)
    p = await here.inputs.record(p, version, input, bases(request), partial(here.uploading.resolve, account.id))
    view = views(request)
    metrics.accepted(request.scope)
    if sent is not None and sent.once:
        p = await here.creator.once(p, version, sent)
        version = await known_version(request, p) or version
        p = await settled(request, p, wait) if wait is not None else p
        ended = p.status in FINAL
    elif wait is None:
        await here.creator.create(p, version)
        ended = False
    else:
        p, ended = await here.creator.run(p, version, wait)
    if wait is None:
        shown, status, headers = view.prediction(p, version), 201, {}
    else:
        shown = view.prediction(p, version) if ended else view.waiting(p, version)
        status, headers = 201 if ended else 202, {"Preference-Applied": f"wait={round(wait)}"}
    return answer(shown, status, {"Location": shown.urls["get"], **headers})


async def _sent(request: AnyRequest) -> idempotency.Sent | None:
    key, count = header(request, b"idempotency-key"), header(request, b"x-stainless-retry-count")
    if key is None and count is None:
        return None
    return idempotency.sent(request.scope["path"], await context.body(request), key, count)


def hooked(request: AnyRequest, p: Prediction, body: Body) -> Prediction:
    """With the webhook that its creator asks for. Raises `InvalidInput`."""
    webhook, events = parse_webhook(body, parts(request).settings.reach)
    if webhook is None:
        return p
    return structs.replace(p, webhook=webhook, webhook_events=events, webhook_base=views(request).base)


async def find(request: AnyRequest, id: str, account: Account) -> Prediction:
    """Raises `NotFound`, also for somebody else's."""
    p = await parts(request).follower.read(id, account.id)
    if p is None or p.kind != "predict":
        raise NotFound
    return p


async def known_version(request: AnyRequest, p: Prediction) -> Version | None:
    """None for one that is not kept any more."""
    version = await parts(request).catalog.kept(p.version)
    if version is None:
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
        at = datetime.fromisoformat(text.strip().replace(" ", "+") if "T" in text else text.strip())
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise BadRequest(f"{name}: give a moment such as 2026-01-31T12:00:00Z.") from error


async def _view(request: AnyRequest, p: Prediction) -> Response[bytes]:
    return answer(views(request).prediction(p, await known_version(request, p)))


async def canceled(request: AnyRequest, p: Prediction) -> Prediction:
    """As it stands a moment after it was asked to stop; one that has ended stays as it is."""
    return await settled(request, p) if await parts(request).cancels.ask(p) else p


async def settled(request: AnyRequest, p: Prediction, seconds: float = A_MOMENT) -> Prediction:
    """The state a moment later, or at once when it has ended."""
    try:
        async with asyncio.timeout(seconds), aclosing(parts(request).follower.watch(p.id)) as states:
            async for p in states:  # noqa: B007
                pass
    except (TimeoutError, Closing):
        pass
    return p
