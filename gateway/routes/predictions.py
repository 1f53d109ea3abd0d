"""/predictions: create, list, get, cancel."""

from datetime import UTC, datetime
from functools import partial
from typing import Any

from litestar import Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import structs

from gateway import errors, metrics
from gateway.catalog.catalog import Version
from gateway.egress.policy import EgressPolicy
from gateway.errors import BadRequest, NotFound
from gateway.events.follower import Follower
from gateway.http import asgi
from gateway.http.asgi import AnyRequest, get_services, header, json_response
from gateway.http.context import (
    authenticate,
    build_views,
    own_base_urls,
    page_cursor,
    page_response,
    read_json,
    request_source,
)
from gateway.http.headers import parse_cancel_after, parse_prefer
from gateway.http.prediction_lookup import PredictionLookup, prediction_lookup
from gateway.openapi.operations import create_prediction, operation, page_of
from gateway.openapi.parameters import PREDICTION_FILTERS
from gateway.predictions import idempotency
from gateway.predictions.request import PredictionBody, parse_webhook
from gateway.settings import Settings
from gateway.store.accounts import Account
from gateway.store.predictions import PredictionFilter, PredictionStore
from gateway.views.resources import PredictionView, Views
from schemas.prediction import FINAL, Prediction


@post("/predictions", operation_id="predictions.create", operation_class=create_prediction(has_version=True))
async def create_prediction_of_version(request: AnyRequest) -> Response[bytes]:
    """Create a prediction.

    `version` is the id of a version, `owner/name:id`, or `owner/name` for the latest version of a model.
    """
    account = await authenticate(request, "predict", create=True)
    body = await read_json(request, PredictionBody)
    if body.version is None:
        raise errors.missing_field("version")
    version = await get_services(request).models.catalog.resolve(body.version, account)
    return await submit_prediction(request, account, version, body)


@get("/predictions", operation_id="predictions.list", operation_class=page_of(PredictionView, *PREDICTION_FILTERS))
async def list_predictions(
    request: AnyRequest,
    prediction_store: NamedDependency[PredictionStore],
    follower: NamedDependency[Follower],
    prediction_lookup: NamedDependency[PredictionLookup],
    settings: NamedDependency[Settings],
    views: NamedDependency[Views],
) -> Response[bytes]:
    """List your predictions, newest first."""
    account = await authenticate(request)
    filter = parse_filter(request.query_params)
    page = await prediction_store.page(account.id, filter, page_cursor(request), settings.page_size)
    predictions = await follower.read_page(page.rows)
    one_per_version = {(p.version, p.pool): p for p in predictions}
    versions = {key: await prediction_lookup.find_version(p) for key, p in one_per_version.items()}
    return page_response(request, page, [views.prediction(p, versions[p.version, p.pool]) for p in predictions])


@get("/predictions/{prediction_id:str}", operation_id="predictions.get", operation_class=operation(PredictionView))
async def get_prediction(request: AnyRequest, prediction_id: FromPath[str]) -> Response[bytes]:
    """Get a prediction as it stands now.

    While its status is `starting`, the field `starting` says why: `downloading weights`, `building`, `loading`;
    `queued` behind others; or `waiting for a runner` that could run it.
    """
    account = await authenticate(request)
    lookup, views = prediction_lookup(request), build_views(request)
    try:
        p = await lookup.find(prediction_id, account)
    except NotFound:
        example = await get_services(request).models.example_store.find_visible(prediction_id, account)
        if example is None:
            raise
        return json_response(views.example(example, await lookup.find_version(example)))
    return json_response(views.prediction(p, await lookup.find_version(p)))


@post(
    "/predictions/{prediction_id:str}/cancel",
    operation_id="predictions.cancel",
    operation_class=operation(PredictionView),
    status_code=200,
)
async def cancel_prediction(
    request: AnyRequest,
    prediction_id: FromPath[str],
    prediction_lookup: NamedDependency[PredictionLookup],
    views: NamedDependency[Views],
) -> Response[bytes]:
    """Cancel a prediction.

    One that has ended stays as it is.
    """
    account = await authenticate(request, "predict")
    p = await prediction_lookup.cancel(await prediction_lookup.find(prediction_id, account))
    return json_response(views.prediction(p, await prediction_lookup.find_version(p)))


router = Router(
    "/",
    route_handlers=[create_prediction_of_version, list_predictions, get_prediction, cancel_prediction],
    tags=["predictions"],
)


async def submit_prediction(
    request: AnyRequest, account: Account, version: Version, body: PredictionBody, *, deployment: str | None = None
) -> Response[bytes]:
    """Create a prediction, and hold the response if the client asks to wait. Every route that creates one uses this."""
    services, views = get_services(request), build_views(request)
    submitter = services.predictions.submitter
    idempotent = await _read_idempotent_request(request)
    wait = parse_prefer(header(request, b"prefer"), services.settings.max_wait)
    cancel_after = parse_cancel_after(header(request, b"cancel-after"))
    p = submitter.new_prediction(account.id, version, cancel_after=cancel_after)
    p = add_webhook(p, body, services.settings.egress_policy, views.base)
    digest = idempotent.digest if idempotent and idempotent.counts_retries else None
    p = structs.replace(p, source=request_source(request), deployment=deployment, request=digest)
    input = version.validator.check(body.input)
    resolve_upload = partial(services.files.uploads.resolve_key, account.id)
    p = await services.predictions.inputs.prepare(p, version, input, own_base_urls(request), resolve_upload)
    metrics.observe_accept(request.scope)
    if idempotent is not None and idempotent.may_repeat:
        lookup = prediction_lookup(request)
        p = await submitter.submit_once(p, idempotent)
        version = await lookup.find_version(p) or version
        p = await lookup.wait_until_final(p, wait) if wait is not None else p
        has_ended = p.status in FINAL
    elif wait is None:
        await submitter.submit(p)
        has_ended = False
    else:
        p, has_ended = await submitter.submit_and_wait(p, wait)
    return _create_response(p, version, views, wait, has_ended=has_ended)


def add_webhook(p: Prediction, body: PredictionBody, egress_policy: EgressPolicy, base_url: str) -> Prediction:
    """Return the prediction with the webhook that the body asks for, if it asks for one. Raises `InvalidInput`."""
    webhook, events = parse_webhook(body, egress_policy)
    if webhook is None:
        return p
    return structs.replace(p, webhook=webhook, webhook_events=events, webhook_base=base_url)


def _create_response(
    p: Prediction, version: Version, views: Views, wait: float | None, *, has_ended: bool
) -> Response[bytes]:
    """Answer a create: 202 for a wait that ran out."""
    if wait is None:
        view, status, headers = views.prediction(p, version), 201, {}
    else:
        view = views.prediction(p, version) if has_ended else views.unfinished(p, version)
        status, headers = 201 if has_ended else 202, {"Preference-Applied": f"wait={round(wait)}"}
    return json_response(view, status, {"Location": view.urls["get"], **headers})


async def _read_idempotent_request(request: AnyRequest) -> idempotency.IdempotentRequest | None:
    key, count = header(request, b"idempotency-key"), header(request, b"x-stainless-retry-count")
    if key is None and count is None:
        return None
    return idempotency.parse_request(request.scope["path"], await asgi.read_body(request), key, count)


def parse_filter(query: Any) -> PredictionFilter:
    """Return the filter that the query asks for. Raises `BadRequest`, which names the parameter."""
    source = query.get("source")
    if source not in {None, "web", "api"}:
        raise BadRequest("source: must be web or api.")
    times = {name: parse_time(name, query[name]) for name in ("created_after", "created_before") if query.get(name)}
    return PredictionFilter(source=source, **times)


def parse_time(name: str, text: str) -> datetime:
    """Return the time of a query parameter, in UTC. Raises `BadRequest`."""
    try:
        # A plus sign that was not escaped arrives as a blank.
        at = datetime.fromisoformat(text.strip().replace(" ", "+") if "T" in text else text.strip())
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise BadRequest(f"{name}: give a moment such as 2026-01-31T12:00:00Z.") from error
