"""Models and their versions in the record."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import asyncpg
from msgspec import convert

from gateway.catalog import Model
from gateway.store.pool import reached
from schemas.models import Offer

MODEL = """owner, name, description, readme, visibility, github_url, paper_url, license_url, latest_version, run_count,
           created_at, updated_at"""
SORTED_BY = {"latest_version_created_at": "updated_at", "model_created_at": "created_at"}


class Models:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def model(self, owner: str, name: str) -> Model | None:
        with reached():
            row = await self._pool.fetchrow(
                f"SELECT {MODEL} FROM models WHERE owner = $1 AND name = $2",
                owner,
                name,
            )
        return convert(dict(row), Model) if row else None

    async def version(self, id: str) -> dict[str, Any] | None:
        with reached():
            row = await self._pool.fetchrow("SELECT * FROM versions WHERE id = $1", id)
        return dict(row) if row else None

    async def versions(self, owner: str, name: str, before: datetime, id: str, size: int) -> list[dict[str, Any]]:
        """Newest first, after the version `id` made at `before`."""
        with reached():
            rows = await self._pool.fetch(
                """SELECT * FROM versions WHERE owner = $1 AND name = $2 AND (created_at, id) < ($3, $4)
                    ORDER BY created_at DESC, id DESC LIMIT $5""",
                owner,
                name,
                before,
                id,
                size,
            )
        return [dict(row) for row in rows]

    async def page(self, sort_by: str, descending: bool, after: tuple[datetime, str, str], size: int) -> list[Model]:
        column = SORTED_BY[sort_by]
        way, than = ("DESC", "<") if descending else ("ASC", ">")
        with reached():
            rows = await self._pool.fetch(
                f"""SELECT {MODEL} FROM models
                     WHERE visibility = 'public' AND ({column}, owner, name) {than} ($1, $2, $3)
                     ORDER BY {column} {way}, owner {way}, name {way} LIMIT $4""",
                *after,
                size,
            )
        return [convert(dict(row), Model) for row in rows]

    async def offer(self, offer: Offer) -> None:
        """A version that a runner has. What is there already stays; a model's latest version is the one made last."""
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(
                """INSERT INTO models (owner, name, description, readme, github_url, paper_url, license_url)
                   VALUES ($1, $2, $3, $4, $5, $6, $7)
                   ON CONFLICT (owner, name) DO UPDATE SET
                          description = excluded.description, readme = excluded.readme,
                          github_url = excluded.github_url, paper_url = excluded.paper_url,
                          license_url = excluded.license_url""",
                offer.owner,
                offer.name,
                offer.description,
                offer.readme,
                offer.github_url,
                offer.paper_url,
                offer.license_url,
            )
            made = await connection.fetchval(
                """INSERT INTO versions (id, owner, name, pool, cog_version, openapi_schema)
                   VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO NOTHING RETURNING id""",
                offer.version,
                offer.owner,
                offer.name,
                offer.pool,
                offer.cog_version,
                bytes(offer.openapi_schema).decode(),
            )
            if made:
                await connection.execute(
                    "UPDATE models SET latest_version = $3, updated_at = now() WHERE owner = $1 AND name = $2",
                    offer.owner,
                    offer.name,
                    made,
                )

    async def count_runs(self, runs: Mapping[str, int]) -> None:
        """Add to the run counts of models, by `owner/name`."""
        with reached():
            await self._pool.executemany(
                "UPDATE models SET run_count = run_count + $3 WHERE owner = $1 AND name = $2",
                [(*model.split("/", 1), runs[model]) for model in sorted(runs)],  # sorted: no two can wait in a ring
            )
