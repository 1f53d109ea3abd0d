"""/healthz, /readyz and /metrics, for those who look after the gateway."""

import asyncio

from litestar import Response, Router, get
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from gateway import metrics
from gateway.call import AnyRequest, answer, parts


@get("/healthz", operation_id="health.live")
async def healthz(request: AnyRequest) -> Response[bytes]:
    """The process lives."""
    return answer({"status": "ok"})


@get("/readyz", operation_id="health.ready")
async def readyz(request: AnyRequest) -> Response[bytes]:
    """Database, broker and at least one runner answer."""
    here = parts(request)
    database, broker, runner = await asyncio.gather(
        here.predictions.reach(), here.broker.reach(), here.broker.reach_runner()
    )
    checks = {"database": database, "broker": broker, "runner": runner}
    ready = all(checks.values())
    return answer({"status": "ok" if ready else "not ready", "checks": checks}, 200 if ready else 503)


@get("/metrics", operation_id="metrics.get")
async def measured(request: AnyRequest) -> Response[bytes]:
    """In Prometheus' text format."""
    metrics.RUNNERS.set(len(parts(request).fleet.present()))
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


router = Router("/", route_handlers=[healthz, readyz, measured], tags=["operation"], security=[{}])
