"""/healthz, /readyz and /metrics, for those who look after the gateway."""

import asyncio

from litestar import Response, Router, get
from prometheus_client import CONTENT_TYPE_LATEST, Metric, generate_latest

from gateway.broker import Failed
from gateway.http.context import AnyRequest, answer, parts
from gateway.services import Parts
from gateway.views import prometheus
from gateway.views.fleet import overview
from gateway.views.resources import HealthView


@get("/healthz", operation_id="health.live")
async def healthz(request: AnyRequest) -> Response[bytes]:
    """The process lives."""
    return answer(HealthView(status="ok"))


@get("/readyz", operation_id="health.ready")
async def readyz(request: AnyRequest) -> Response[bytes]:
    """Database, broker and at least one runner answer."""
    here = parts(request)
    database, broker, runner = await asyncio.gather(
        here.predictions.reach(), here.broker.reach(), here.broker.reach_runner()
    )
    checks = {"database": database, "broker": broker, "runner": runner}
    ready = all(checks.values())
    return answer(HealthView(status="ok" if ready else "not ready", checks=checks), 200 if ready else 503)


@get("/metrics", operation_id="metrics.get")
async def metrics(request: AnyRequest) -> Response[bytes]:
    """In Prometheus' text format."""
    fleet = prometheus.Snapshot(await _fleet(parts(request)))
    return Response(generate_latest() + generate_latest(fleet), media_type=CONTENT_TYPE_LATEST)


router = Router("/", route_handlers=[healthz, readyz, metrics], tags=["operation"], security=[{}])


async def _fleet(here: Parts) -> list[Metric]:
    """A broker that does not answer has the queues left out, and the rest told."""
    try:
        depths = await here.broker.depths()
    except Failed:
        return list(prometheus.of_runners(overview(here.fleet, {})))
    seen = overview(here.fleet, depths)
    return [*prometheus.of_runners(seen), *prometheus.of_queues(seen)]
