"""Ray Serve, set up as https://docs.ray.io/en/latest/serve describes its fastest configuration."""

# What it imports is in its own environment.
# pyright: basic, reportAttributeAccessIssue=false, reportMissingImports=false

import asyncio
import os
from collections.abc import Iterator
from typing import Any

# advanced-guides/performance and serve-high-throughput: HAProxy before the replicas, and what comes with "throughput
# optimized" (user code on the replica's own loop, buffered logs). They are read when Serve is imported.
os.environ.setdefault("RAY_SERVE_ENABLE_HA_PROXY", "1")
os.environ.setdefault("RAY_SERVE_THROUGHPUT_OPTIMIZED", "1")

import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse

from benchmarks.rivals.model import BATCH, Model, batch_window, has_batches, is_streaming, server_port

# None: it suits one client and costs 64 little, since a batch fills while the one before is computed; see README.md.
WINDOW = 0
"""Milliseconds that a batch waits for more requests (advanced-guides/dyn-req-batch: `batch_wait_timeout_s`)."""
# configure-serve-deployment: the default of 5 would keep batches small. One replica has the model, as one of ours has.
OPTIONS: dict[str, Any] = {"num_replicas": 1, "max_ongoing_requests": 256, "ray_actor_options": {"num_cpus": 1}}
# monitoring: a line of log for each request is what the others do not write either.
LOGGING = {"enable_access_log": False, "log_level": "WARNING"}


@serve.deployment(**OPTIONS, logging_config=LOGGING)
class One:
    """A predictor without batches."""

    def __init__(self) -> None:
        self.model = Model()

    async def __call__(self, request: Request) -> JSONResponse:
        return JSONResponse(self.model.one(await request.json()))


@serve.deployment(**OPTIONS, logging_config=LOGGING)
class Many:
    """A predictor with batches."""

    def __init__(self) -> None:
        self.model = Model()

    @serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=batch_window(WINDOW) / 1000)
    async def together(self, inputs: list[dict[str, Any]]) -> list[Any]:
        # advanced-guides/asyncio-best-practices: beside the loop, so that the next batch comes in meanwhile.
        """Answer a batch of inputs."""
        return await asyncio.to_thread(self.model.many, inputs)

    async def __call__(self, request: Request) -> JSONResponse:
        return JSONResponse(await self.together(await request.json()))


@serve.deployment(**OPTIONS, logging_config=LOGGING)
class Stream:
    """A predictor that yields its output (tutorials/streaming: a generator in a StreamingResponse)."""

    def __init__(self) -> None:
        self.model = Model()

    async def __call__(self, request: Request) -> StreamingResponse:
        inputs = await request.json()

        def pieces() -> Iterator[str]:
            yield from self.model.stream(inputs)

        return StreamingResponse(pieces(), media_type="text/plain")


if __name__ == "__main__":
    ray.init(num_cpus=max(2, os.cpu_count() or 1), include_dashboard=False, log_to_driver=False)
    serve.start(
        http_options={"host": "127.0.0.1", "port": server_port(), "location": "HeadOnly"}, logging_config=LOGGING
    )
    kind = Stream if is_streaming() else Many if has_batches() else One
    serve.run(kind.bind(), blocking=True)
