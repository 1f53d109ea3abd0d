"""Models and their versions in the record."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, NamedTuple

import asyncpg
from asyncpg.pool import PoolConnectionProxy as Connection
from msgspec import Struct, convert, json

from gateway.store.accounts import Account
from gateway.store.connection import reached
from gateway.store.pages import Cursor, Listed, listed
from gateway.store.references import refuse_needed
from schemas.models import Built, Manifest, Offer

MODEL = """owner, name, description, readme, visibility, github_url, paper_url, license_url, cover_image_url, hardware,
           default_example, latest_version, run_count, created_at, updated_at"""
VERSION = "id, owner, name, pool, cog_version, openapi_schema, created_at, pack, base, labels"
# A folder that says nothing of these leaves what somebody wrote over HTTP.
DESCRIBE = """
    UPDATE models SET
           description = coalesce($3, description), readme = coalesce($4, readme),
           github_url = coalesce($5, github_url), paper_url = coalesce($6, paper_url),
           license_url = coalesce($7, license_url)
     WHERE owner = $1 AND name = $2
"""
# An update that changes nothing: so nobody deletes the model before its version is there.
ENSURE = """
    INSERT INTO models (owner, name) VALUES ($1, $2)
    ON CONFLICT (owner, name) DO UPDATE SET latest_version = models.latest_version
"""
LATEST = """
    UPDATE models SET latest_version = (
               SELECT id FROM versions WHERE owner = $1 AND name = $2 ORDER BY created_at DESC, id DESC LIMIT 1)
     WHERE owner = $1 AND name = $2
"""
SORTED_BY = {"latest_version_created_at": "updated_at", "model_created_at": "created_at"}


class Model(Struct, frozen=True, kw_only=True):
    owner: str
    name: str
    description: str | None
    readme: str | None
    visibility: str
    github_url: str | None
    paper_url: str | None
    license_url: str | None
    cover_image_url: str | None = None
    hardware: str | None = None
    default_example: str | None = None
    """The id of a prediction."""
    latest_version: str | None
    run_count: int
    created_at: datetime
    updated_at: datetime


class Left(NamedTuple):
    """Of a deleted version, in the file store."""

    pack: str | None
    """Its archive's hash, if it was pushed."""
    weights: str | None
    """Their key, if it was trained."""


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
        return as_model(row) if row else None

    async def version(self, id: str) -> dict[str, Any] | None:
        with reached():
            row = await self._pool.fetchrow(f"SELECT {VERSION} FROM versions WHERE id = $1", id)
        return dict(row) if row else None

    async def versions(self, owner: str, name: str, cursor: Cursor | None, size: int) -> Listed[dict[str, Any]]:
        """Newest first."""
        return await listed(
            self._pool,
            f"SELECT {VERSION} FROM versions WHERE owner = $1 AND name = $2",
            (owner, name),
            by=("created_at", "id"),
            cursor=cursor,
            size=size,
            read=dict,
        )

    async def page(self, sort_by: str, *, descending: bool, cursor: Cursor | None, size: int) -> Listed[Model]:
        """The public ones; `sort_by` is a key of `SORTED_BY`."""
        return await listed(
            self._pool,
            f"SELECT {MODEL} FROM models WHERE visibility = 'public'",
            (),
            by=(SORTED_BY[sort_by], "owner", "name"),
            cursor=cursor,
            size=size,
            read=as_model,
            descending=descending,
        )

    async def catalogue(self, username: str, *, everything: bool, cursor: Cursor | None, size: int) -> Listed[Model]:
        """What somebody of this name may see, or all there is; those with the newest versions first."""
        return await listed(
            self._pool,
            f"SELECT {MODEL} FROM models WHERE (visibility = 'public' OR owner = $1 OR $2)",
            (username, everything),
            by=(SORTED_BY["latest_version_created_at"], "owner", "name"),
            cursor=cursor,
            size=size,
            read=as_model,
        )

    async def labelled(self, label: str, account: Account, most: int) -> list[Model]:
        """Those that the account may see, and whose latest versions have this label; by name."""
        with reached():
            rows = await self._pool.fetch(
                f"""SELECT {MODEL} FROM models m
                     WHERE (visibility = 'public' OR owner = $2 OR $3)
                       AND EXISTS (SELECT FROM versions WHERE id = m.latest_version AND labels->>$1 IS NOT NULL)
                     ORDER BY owner, name LIMIT $4""",
                label,
                account.username,
                "admin" in account.scopes,
                most,
            )
        return [as_model(row) for row in rows]

    async def offer(self, offer: Offer) -> None:
        """A version that a runner has. What is there already stays; a model's latest version is the one made last."""
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(ENSURE, offer.owner, offer.name)
            made = await connection.fetchval(
                """INSERT INTO versions (id, owner, name, pool, cog_version, openapi_schema, labels)
                   VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING RETURNING id""",
                offer.version,
                offer.owner,
                offer.name,
                offer.pool,
                offer.cog_version,
                bytes(offer.openapi_schema).decode(),
                _labels(offer),
            )
            if made:
                await connection.execute(DESCRIBE, *_about(offer))
                await connection.execute(
                    "UPDATE models SET latest_version = $3, updated_at = now() WHERE owner = $1 AND name = $2",
                    offer.owner,
                    offer.name,
                    made,
                )

    async def built(self, push: str, manifest: Manifest, built: Built, logs: str) -> bool:
        """The version that a push made. False: it was made before, and may have been deleted since."""
        offer = built.offer
        with reached():
            async with self._pool.acquire() as connection, connection.transaction():
                if not await connection.fetchval(
                    "UPDATE predictions SET built = true WHERE id = $1 AND NOT built RETURNING true", push
                ):
                    return False
                await connection.execute(ENSURE, offer.owner, offer.name)
                await connection.execute(DESCRIBE, *_about(offer))
                await connection.execute(
                    """INSERT INTO versions (id, owner, name, pool, cog_version, openapi_schema, pack, size, logs,
                                             setup_log, setup_seconds, environment, notes, labels)
                       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
                       ON CONFLICT (id) DO UPDATE SET
                              pack = excluded.pack, size = excluded.size, logs = excluded.logs,
                              setup_log = excluded.setup_log, setup_seconds = excluded.setup_seconds,
                              environment = excluded.environment, notes = excluded.notes""",
                    offer.version,
                    offer.owner,
                    offer.name,
                    offer.pool,
                    offer.cog_version,
                    bytes(offer.openapi_schema).decode(),
                    manifest.pack,
                    manifest.size,
                    logs,
                    built.setup_log.replace("\0", "\ufffd"),
                    built.setup_seconds,
                    built.environment,
                    built.notes,
                    _labels(offer),
                )
                await connection.execute(
                    "UPDATE models SET latest_version = $3, updated_at = now() WHERE owner = $1 AND name = $2",
                    offer.owner,
                    offer.name,
                    offer.version,
                )
        return True

    async def outcome(self, training: str) -> tuple[bool, str | None]:
        """Whether it is decided what became of a training that succeeded, and why it has no version, if so."""
        with reached():
            row = await self._pool.fetchrow(
                "SELECT built, CASE status WHEN 'failed' THEN error END AS error FROM predictions WHERE id = $1",
                training,
            )
        return (row["built"], row["error"]) if row else (False, None)

    async def trained(self, training: str, manifest: Manifest, logs: str, on: Connection) -> tuple[bool, str | None]:
        """The version that a training made, in the transaction that `on` is in.

        Whether it is new, and why it cannot be, which then is how the training ended. It may have been made before, by
        this training or by another one that came to the same weights.
        """
        assert manifest.weights is not None
        if not await on.fetchval(
            "UPDATE predictions SET built = true WHERE id = $1 AND NOT built RETURNING true", training
        ):
            return False, await on.fetchval(
                "SELECT error FROM predictions WHERE id = $1 AND status = 'failed'", training
            )
        # Locked in the order in which versions are deleted.
        base = await on.fetchval("SELECT true FROM versions WHERE id = $1 FOR SHARE", manifest.base)
        model = await on.fetchval(
            "SELECT true FROM models WHERE owner = $1 AND name = $2 FOR UPDATE", manifest.owner, manifest.name
        )
        if not (base and model):
            what = f"The model {manifest.owner}/{manifest.name}" if base else "The version that was trained"
            error = f"{what} was deleted before the training ended."
            await on.execute("UPDATE predictions SET status = 'failed', error = $2 WHERE id = $1", training, error)
            return False, error
        new = await on.fetchval(
            """INSERT INTO versions (id, owner, name, pool, cog_version, openapi_schema, labels, base, weights, logs)
               SELECT $1, $2, $3, pool, cog_version, openapi_schema, labels, id, $4, $5 FROM versions WHERE id = $6
               ON CONFLICT (id) DO NOTHING RETURNING true""",
            manifest.version,
            manifest.owner,
            manifest.name,
            manifest.weights.key,
            logs,
            manifest.base,
        )
        await on.execute(
            "UPDATE models SET latest_version = $3, updated_at = now() WHERE owner = $1 AND name = $2",
            manifest.owner,
            manifest.name,
            manifest.version,
        )
        return bool(new), None

    async def logs(self, id: str) -> tuple[str, str] | None:
        """Of a pushed version's push, and of its set-up; of a trained one's training."""
        with reached():
            row = await self._pool.fetchrow(
                "SELECT logs, setup_log FROM versions WHERE id = $1 AND coalesce(pack, base) IS NOT NULL", id
            )
        return (row["logs"], row["setup_log"]) if row else None

    async def delete_version(self, owner: str, name: str, id: str) -> dict[str, Left]:
        """The model's newest version of those that are left becomes its latest. What there is of it in the file store.

        Raises `Unprocessable` for one that a deployment or a trained version needs.
        """
        with reached():
            async with self._pool.acquire() as connection, connection.transaction():
                rows = await connection.fetch("DELETE FROM versions WHERE id = $1 RETURNING id, pack, weights", id)
                await refuse_needed(connection, [id])
                await connection.execute(LATEST, owner, name)
        return {row["id"]: Left(row["pack"], row["weights"]) for row in rows}

    async def delete_model(self, owner: str, name: str) -> dict[str, Left]:
        """The versions that it had. Raises like `delete_version`."""
        with reached():
            async with self._pool.acquire() as connection, connection.transaction():
                rows = await connection.fetch(
                    "DELETE FROM versions WHERE owner = $1 AND name = $2 RETURNING id, pack, weights", owner, name
                )
                await refuse_needed(connection, [row["id"] for row in rows])
                await connection.execute("DELETE FROM models WHERE owner = $1 AND name = $2", owner, name)
        return {row["id"]: Left(row["pack"], row["weights"]) for row in rows}

    async def version_ids(self, owner: str, name: str) -> list[str]:
        with reached():
            rows = await self._pool.fetch("SELECT id FROM versions WHERE owner = $1 AND name = $2", owner, name)
        return [row["id"] for row in rows]

    @asynccontextmanager
    async def holding(self, pack: str) -> AsyncGenerator[Connection]:
        """Nobody else decides about this archive, or this trained version, meanwhile, whichever gateway they ask.

        All in one transaction.
        """
        with reached():
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"pack:{pack}")
                yield connection

    async def packs_needed(self, packs: Sequence[str], on: Connection | None = None) -> set[str]:
        """Those of them that a version or a push under way is made of."""
        with reached():
            rows = await (on or self._pool).fetch(
                """SELECT pack FROM versions WHERE pack = ANY($1)
                    UNION
                   SELECT input->>'pack' FROM predictions
                    WHERE kind = 'build' AND status IN ('starting', 'processing') AND input->>'pack' = ANY($1)""",
                list(packs),
            )
        return {row["pack"] for row in rows}

    async def weights_needed(self, keys: Sequence[str], on: Connection | None = None) -> set[str]:
        """Those of these files that a trained version has."""
        with reached():
            rows = await (on or self._pool).fetch("SELECT weights FROM versions WHERE weights = ANY($1)", list(keys))
        return {row["weights"] for row in rows}

    async def versions_needed(self, ids: Sequence[str], on: Connection | None = None) -> set[str]:
        """Those of them that are there, or are being built."""
        with reached():
            rows = await (on or self._pool).fetch(
                """SELECT id FROM versions WHERE id = ANY($1)
                    UNION
                   SELECT version FROM predictions
                    WHERE kind = 'build' AND status IN ('starting', 'processing') AND version = ANY($1)""",
                list(ids),
            )
        return {row["id"] for row in rows}

    async def count_runs(self, runs: Mapping[str, int]) -> None:
        """Add to the run counts of models, by `owner/name`."""
        with reached():
            await self._pool.executemany(
                "UPDATE models SET run_count = run_count + $3 WHERE owner = $1 AND name = $2",
                [(*model.split("/", 1), runs[model]) for model in sorted(runs)],  # sorted: no two can wait in a ring
            )


def _about(offer: Offer) -> tuple[str | None, ...]:
    """What `DESCRIBE` takes."""
    urls = offer.github_url, offer.paper_url, offer.license_url
    return offer.owner, offer.name, offer.description, offer.readme, *urls


def _labels(offer: Offer) -> str:
    return json.encode(offer.labels).decode()


def as_model(row: asyncpg.Record) -> Model:
    return convert(dict(row), Model)
