"""A collection for the clients that can only read them."""

from collections.abc import Generator
from contextlib import contextmanager

import httpx

from benchmarks.stack import Stack

COLLECTION = {
    "name": "Greeters",
    "slug": "greeters",
    "description": "They say hello",
    "models": ["samovar/hello-world"],
}


@contextmanager
def create_collection(stack: Stack) -> Generator[None]:
    with httpx.Client(base_url=stack.url, headers=stack.headers) as api:
        assert api.post("/v1/collections", json=COLLECTION).status_code == 201
        try:
            yield
        finally:
            assert api.delete("/v1/collections/greeters").status_code == 204
