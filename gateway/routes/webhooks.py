"""/webhooks: the secret that signs them, their deliveries, and sending one again."""

import asyncio
from datetime import timedelta

from litestar import Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import UNSET

from gateway.errors import BadRequest, NotFound
from gateway.http.asgi import AnyRequest, json_response
from gateway.http.context import authenticate, page_cursor, page_response
from gateway.openapi.operations import operation, page_of
from gateway.openapi.parameters import DELIVERY_FILTERS
from gateway.settings import Settings
from gateway.store.accounts import Account
from gateway.store.deliveries import DELIVERY_STATES, Delivery, DeliveryStore
from gateway.store.secrets import WebhookSecretStore
from gateway.times import format_rfc3339
from gateway.views.resources import AttemptView, DeliveryView, SecretView, Views


@get("/webhooks/default/secret", operation_id="webhooks.default.secret.get", operation_class=operation(SecretView))
async def get_secret(request: AnyRequest, webhook_secrets: NamedDependency[WebhookSecretStore]) -> Response[bytes]:
    """Get the secret that signs your webhooks."""
    account = await authenticate(request)
    return json_response(SecretView(key=await webhook_secrets.current_key(account.id)))


@post(
    "/webhooks/default/secret/rotate",
    operation_id="webhooks.default.secret.rotate",
    operation_class=operation(SecretView),
    status_code=200,
)
async def rotate_secret(
    request: AnyRequest, webhook_secrets: NamedDependency[WebhookSecretStore], settings: NamedDependency[Settings]
) -> Response[bytes]:
    """Replace the secret that signs your webhooks.

    The old secret signs beside the new one for a while, so that you can update receivers one by one.
    """
    account = await authenticate(request, "write")
    overlap = timedelta(hours=settings.webhook_rotation_hours)
    return json_response(SecretView(key=await webhook_secrets.rotate(account.id, overlap)))


@get(
    "/webhooks/deliveries",
    operation_id="webhooks.deliveries.list",
    operation_class=page_of(DeliveryView, *DELIVERY_FILTERS),
)
async def list_deliveries(
    request: AnyRequest,
    delivery_store: NamedDependency[DeliveryStore],
    settings: NamedDependency[Settings],
    views: NamedDependency[Views],
) -> Response[bytes]:
    """List the deliveries to your webhooks, newest first, with every attempt."""
    account = await authenticate(request)
    prediction, state = request.query_params.get("prediction"), request.query_params.get("state")
    if state not in {None, *DELIVERY_STATES}:
        raise BadRequest(f"state: must be one of {', '.join(DELIVERY_STATES)}.")
    if prediction is not None and "\0" in prediction:
        raise BadRequest("prediction: no id looks like that.")
    page = await delivery_store.page(account.id, prediction, state, page_cursor(request), settings.page_size)
    return page_response(request, page, [delivery_view(delivery, views) for delivery in page.rows])


@get(
    "/webhooks/deliveries/{delivery_id:str}",
    operation_id="webhooks.deliveries.get",
    operation_class=operation(DeliveryView),
)
async def get_delivery(
    request: AnyRequest,
    delivery_id: FromPath[str],
    delivery_store: NamedDependency[DeliveryStore],
    views: NamedDependency[Views],
) -> Response[bytes]:
    """Get a delivery.

    Its id is the `webhook-id` that the receiver saw.
    """
    return json_response(await _find(delivery_id, await authenticate(request), delivery_store, views))


@post(
    "/webhooks/deliveries/{delivery_id:str}/redeliver",
    operation_id="webhooks.deliveries.redeliver",
    operation_class=operation(DeliveryView, refuses=(422,)),
    status_code=200,
)
async def redeliver(
    request: AnyRequest,
    delivery_id: FromPath[str],
    delivery_store: NamedDependency[DeliveryStore],
    webhooks_due: NamedDependency[asyncio.Event],
    views: NamedDependency[Views],
) -> Response[bytes]:
    """Send a delivery again, now.

    It has the same id, and the state of the prediction as it is now.
    """
    account = await authenticate(request, "predict")
    if not await delivery_store.resend(account.id, delivery_id):
        raise NotFound
    webhooks_due.set()
    return json_response(await _find(delivery_id, account, delivery_store, views))


router = Router(
    "/", route_handlers=[get_secret, rotate_secret, list_deliveries, get_delivery, redeliver], tags=["webhooks"]
)


async def _find(id: str, account: Account, delivery_store: DeliveryStore, views: Views) -> DeliveryView:
    """Return a delivery of this account. Raises `NotFound`, also for one of somebody else."""
    delivery = await delivery_store.get(account.id, id)
    if delivery is None:
        raise NotFound
    return delivery_view(delivery, views)


def delivery_view(delivery: Delivery, views: Views) -> DeliveryView:
    """Return a delivery as clients see it."""
    get = f"{views.base}/v1/webhooks/deliveries/{delivery.id}"
    attempts = [
        AttemptView(at=format_rfc3339(each.at), seconds=round(each.seconds, 3), status=each.status, error=each.error)
        for each in delivery.attempts
    ]
    return DeliveryView(
        id=delivery.id,
        prediction=delivery.prediction,
        event=delivery.event,
        webhook=delivery.url,
        state=delivery.state,
        created_at=format_rfc3339(delivery.created_at),
        next_attempt_at=format_rfc3339(delivery.due_at) if delivery.state == "pending" else UNSET,
        completed_at=format_rfc3339(delivery.ended_at) if delivery.ended_at else UNSET,
        attempts=attempts,
        urls={"get": get, "redeliver": f"{get}/redeliver"},
    )
