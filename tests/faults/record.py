"""The record at the end of a campaign, read twice: through the API, and from the rows."""

import time
from collections.abc import AsyncIterator
from datetime import datetime

import httpx
from msgspec import json

from benchmarks.database import fetch
from benchmarks.stack import Stack
from tests.faults.history import RecordRow

COUNT_UNFINISHED = "SELECT count(*) FROM predictions WHERE status IN ('starting', 'processing')"
ROWS = "SELECT id, model, input, status, output, error, completed_at FROM predictions"


async def read_api(http: httpx.AsyncClient) -> AsyncIterator[RecordRow]:
    """Yield every prediction of the API's list."""
    page: str | None = "/v1/predictions"
    while page:
        answer = (await http.get(page)).raise_for_status().json()
        for row in answer["results"]:
            yield RecordRow(
                client="record",
                at=time.monotonic(),
                id=row["id"],
                by="api",
                model=row["model"],
                input=row["input"],
                status=row["status"],
                output=row["output"],
                error=row["error"],
                completed_at=row.get("completed_at"),
            )
        page = answer["next"]


async def read_rows(stack: Stack) -> AsyncIterator[RecordRow]:
    for row in await fetch(stack, ROWS):
        yield RecordRow(
            client="record",
            at=time.monotonic(),
            id=row["id"],
            by="row",
            model=row["model"],
            input=json.decode(row["input"]),
            status=row["status"],
            output=json.decode(row["output"]) if row["output"] is not None else None,
            error=row["error"],
            completed_at=_rfc3339(row["completed_at"]),
        )


async def count_unfinished(stack: Stack) -> int:
    return (await fetch(stack, COUNT_UNFINISHED))[0][0]


def _rfc3339(moment: datetime | None) -> str | None:
    return moment and moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
