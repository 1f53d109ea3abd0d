"""/healthz, /readyz and /metrics, for those who look after the gateway."""

import asyncio

from litestar import Response, Router, get
from litestar.di import NamedDependency
from prometheus_client import CONTENT_TYPE_LATEST, Metric, generate_latest

from gateway.broker import Broker, BrokerError
from gateway.fleet.registry import FleetRegistry
from gateway.http.asgi import AnyRequest, json_response
from gateway.openapi.operations import operation
from gateway.store.predictions import PredictionStore
from gateway.views import prometheus
from gateway.views.fleet import build_overview
from gateway.views.resources import HealthView


@get("/healthz", operation_id="health.live", operation_class=operation(HealthView))
async def get_health(request: AnyRequest) -> Response[bytes]:
    """Report that the gateway's process is alive."""
    return json_response(HealthView(status="ok"))


@get("/readyz", operation_id="health.ready", operation_class=operation(HealthView, also=(503,)))
async def get_readiness(
    request: AnyRequest, prediction_store: NamedDependency[PredictionStore], broker: NamedDependency[Broker]
) -> Response[bytes]:
    """Report whether the gateway can serve requests.

    It can when the database, the broker and at least one runner answer.
    """
    has_database, has_broker, has_runner = await asyncio.gather(
        prediction_store.is_reachable(), broker.is_reachable(), broker.has_runner()
    )
    checks = {"database": has_database, "broker": has_broker, "runner": has_runner}
    is_ready = all(checks.values())
    return json_response(HealthView(status="ok" if is_ready else "not ready", checks=checks), 200 if is_ready else 503)


@get("/metrics", operation_id="metrics.get", operation_class=operation(media=(CONTENT_TYPE_LATEST,)))
async def get_metrics(
    request: AnyRequest, broker: NamedDependency[Broker], fleet: NamedDependency[FleetRegistry]
) -> Response[bytes]:
    """Read the metrics of the gateway in Prometheus' text format."""
    snapshot = prometheus.MetricSnapshot(await _collect_fleet_metrics(broker, fleet))
    return Response(generate_latest() + generate_latest(snapshot), media_type=CONTENT_TYPE_LATEST)


router = Router("/", route_handlers=[get_health, get_readiness, get_metrics], tags=["operation"], security=[{}])


async def _collect_fleet_metrics(broker: Broker, fleet: FleetRegistry) -> list[Metric]:
    """Return the metrics of runners and queues; without those of queues if the broker does not answer."""
    try:
        depths = await broker.queue_depths()
    except BrokerError:
        return list(prometheus.runner_metrics(build_overview(fleet, {})))
    current = build_overview(fleet, depths)
    return [*prometheus.runner_metrics(current), *prometheus.queue_metrics(current)]
