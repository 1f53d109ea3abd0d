"""/webhooks: the secret that they are signed with, what became of them, and sending one again."""

from dataclasses import dataclass
from datetime import timedelta

from litestar import Response, Router, get, post
from litestar.openapi.spec import Operation
from litestar.params import FromPath
from msgspec import UNSET

from gateway.errors import BadRequest, NotFound
from gateway.http.context import AnyRequest, answer, caller, cursor, paged, parts, views
from gateway.openapi.operations import CURSOR, query
from gateway.store.accounts import Account
from gateway.store.deliveries import STATES, Delivery
from gateway.times import rfc3339
from gateway.views.resources import AttemptView, DeliveryView, SecretView


@dataclass
class DeliveriesOperation(Operation):
    def __post_init__(self) -> None:
        self.parameters = [
            *(self.parameters or []),
            CURSOR,
            query("prediction", "Of this prediction only."),
            query("state", "pending, delivered, failed or dropped"),
        ]


@get("/webhooks/default/secret", operation_id="webhooks.default.secret.get")
async def secret(request: AnyRequest) -> Response[bytes]:
    """What your webhooks are signed with."""
    account = await caller(request)
    return answer(SecretView(key=await parts(request).webhook_secrets.key(account.id)))


@post("/webhooks/default/secret/rotate", operation_id="webhooks.default.secret.rotate", status_code=200)
async def rotate(request: AnyRequest) -> Response[bytes]:
    """A new secret. The old one signs beside it for a while, so that receivers can be told one after the other."""
    account = await caller(request, "write")
    here = parts(request)
    overlap = timedelta(hours=here.settings.webhook_rotation_hours)
    return answer(SecretView(key=await here.webhook_secrets.rotate(account.id, overlap)))


@get("/webhooks/deliveries", operation_id="webhooks.deliveries.list", operation_class=DeliveriesOperation)
async def page(request: AnyRequest) -> Response[bytes]:
    """What was sent to your webhooks, or is to be, newest first, with every attempt."""
    account = await caller(request)
    here = parts(request)
    prediction, state = request.query_params.get("prediction"), request.query_params.get("state")
    if state not in {None, *STATES}:
        raise BadRequest(f"state: must be one of {', '.join(STATES)}.")
    if prediction is not None and "\0" in prediction:
        raise BadRequest("prediction: no id looks like that.")
    found = await here.deliveries.page(account.id, prediction, state, cursor(request), here.settings.page_size)
    return paged(request, found, [_view(request, delivery) for delivery in found.rows])


@get("/webhooks/deliveries/{delivery_id:str}", operation_id="webhooks.deliveries.get")
async def show(request: AnyRequest, delivery_id: FromPath[str]) -> Response[bytes]:
    """One of them; its id is the `webhook-id` that its receiver saw."""
    return answer(await _found(request, delivery_id, await caller(request)))


@post("/webhooks/deliveries/{delivery_id:str}/redeliver", operation_id="webhooks.deliveries.redeliver", status_code=200)
async def redeliver(request: AnyRequest, delivery_id: FromPath[str]) -> Response[bytes]:
    """Send it again, now, under the same id and with what there is to tell now."""
    account = await caller(request, "predict")
    if not await parts(request).deliveries.again(account.id, delivery_id):
        raise NotFound
    parts(request).webhooks_due.set()
    return answer(await _found(request, delivery_id, account))


router = Router("/", route_handlers=[secret, rotate, page, show, redeliver], tags=["webhooks"])


async def _found(request: AnyRequest, id: str, account: Account) -> DeliveryView:
    """Raises `NotFound`, also for somebody else's."""
    delivery = await parts(request).deliveries.get(account.id, id)
    if delivery is None:
        raise NotFound
    return _view(request, delivery)


def _view(request: AnyRequest, delivery: Delivery) -> DeliveryView:
    get = f"{views(request).base}/v1/webhooks/deliveries/{delivery.id}"
    attempts = [
        AttemptView(at=rfc3339(each.at), seconds=round(each.seconds, 3), status=each.status, error=each.error)
        for each in delivery.attempts
    ]
    return DeliveryView(
        id=delivery.id,
        prediction=delivery.prediction,
        event=delivery.event,
        webhook=delivery.url,
        state=delivery.state,
        created_at=rfc3339(delivery.created_at),
        next_attempt_at=rfc3339(delivery.due_at) if delivery.state == "pending" else UNSET,
        completed_at=rfc3339(delivery.ended_at) if delivery.ended_at else UNSET,
        attempts=attempts,
        urls={"get": get, "redeliver": f"{get}/redeliver"},
    )
