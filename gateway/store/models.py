"""Models and their versions in the database."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, NamedTuple

import asyncpg
from asyncpg.pool import PoolConnectionProxy as Connection
from msgspec import Struct, convert, json

from gateway.store.accounts import Account
from gateway.store.connection import translate_errors
from gateway.store.pages import Cursor, RowPage, fetch_page
from gateway.store.references import refuse_if_referenced
from gateway.store.statuses import IS_UNFINISHED
from schemas.models import BuildResult, Manifest, VersionInfo

MODEL = """owner, name, description, readme, visibility, github_url, paper_url, license_url, cover_image_url, hardware,
           default_example, latest_version, run_count, created_at, updated_at"""
VERSION = "id, owner, name, pool, cog_version, openapi_schema, created_at, pack, base, labels"
# Where a folder gives no description, what somebody wrote over HTTP stays.
UPDATE_DESCRIPTION = """
    UPDATE models SET
           description = coalesce($3, description), readme = coalesce($4, readme),
           github_url = coalesce($5, github_url), paper_url = coalesce($6, paper_url),
           license_url = coalesce($7, license_url)
     WHERE owner = $1 AND name = $2
"""
# The update changes nothing but locks the row, so nobody deletes the model before its version is there.
ENSURE_MODEL = """
    INSERT INTO models (owner, name) VALUES ($1, $2)
    ON CONFLICT (owner, name) DO UPDATE SET latest_version = models.latest_version
"""
UPDATE_LATEST_VERSION = """
    UPDATE models SET latest_version = (
               SELECT id FROM versions WHERE owner = $1 AND name = $2 ORDER BY created_at DESC, id DESC LIMIT 1)
     WHERE owner = $1 AND name = $2
"""
SORT_COLUMNS = {"latest_version_created_at": "updated_at", "model_created_at": "created_at"}


class Model(Struct, frozen=True, kw_only=True):
    """A model as its row describes it."""

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
    """Id of a prediction."""
    latest_version: str | None
    run_count: int
    created_at: datetime
    updated_at: datetime


class StoredVersionFiles(NamedTuple):
    """The files that a deleted version leaves in the file store."""

    archive: str | None
    """Digest of its archive, if it was pushed."""
    weights: str | None
    """Key of its weights, if it was trained."""


class ModelStore:
    """The models and their versions: lookups, registration by runners, results of pushes and trainings, deletion.

    Used by the catalog, the services of `gateway.versions` and the garbage collector.
    """

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def get(self, owner: str, name: str) -> Model | None:
        """Return a model, or None."""
        with translate_errors():
            row = await self._pool.fetchrow(
                f"SELECT {MODEL} FROM models WHERE owner = $1 AND name = $2",
                owner,
                name,
            )
        return as_model(row) if row else None

    async def get_version(self, id: str) -> dict[str, Any] | None:
        """Return a version's row, or None."""
        with translate_errors():
            row = await self._pool.fetchrow(f"SELECT {VERSION} FROM versions WHERE id = $1", id)
        return dict(row) if row else None

    async def version_page(self, owner: str, name: str, cursor: Cursor | None, size: int) -> RowPage[dict[str, Any]]:
        """Return one page of a model's versions, newest first."""
        return await fetch_page(
            self._pool,
            f"SELECT {VERSION} FROM versions WHERE owner = $1 AND name = $2",
            (owner, name),
            by=("created_at", "id"),
            cursor=cursor,
            size=size,
            from_row=dict,
        )

    async def public_page(self, sort_by: str, *, descending: bool, cursor: Cursor | None, size: int) -> RowPage[Model]:
        """Return one page of the public models; `sort_by` is a key of `SORT_COLUMNS`."""
        return await fetch_page(
            self._pool,
            f"SELECT {MODEL} FROM models WHERE visibility = 'public'",
            (),
            by=(SORT_COLUMNS[sort_by], "owner", "name"),
            cursor=cursor,
            size=size,
            from_row=as_model,
            descending=descending,
        )

    async def visible_page(
        self, username: str, *, include_private: bool, cursor: Cursor | None, size: int
    ) -> RowPage[Model]:
        """Return one page of the models that a user may see, or of all, those with the newest versions first."""
        return await fetch_page(
            self._pool,
            f"SELECT {MODEL} FROM models WHERE (visibility = 'public' OR owner = $1 OR $2)",
            (username, include_private),
            by=(SORT_COLUMNS["latest_version_created_at"], "owner", "name"),
            cursor=cursor,
            size=size,
            from_row=as_model,
        )

    async def list_by_label(self, label: str, account: Account, limit: int) -> list[Model]:
        """Return the models that the account may see and whose latest version has this label, by name."""
        with translate_errors():
            rows = await self._pool.fetch(
                f"""SELECT {MODEL} FROM models m
                     WHERE (visibility = 'public' OR owner = $2 OR $3)
                       AND EXISTS (SELECT FROM versions WHERE id = m.latest_version AND labels->>$1 IS NOT NULL)
                     ORDER BY owner, name LIMIT $4""",
                label,
                account.username,
                "admin" in account.scopes,
                limit,
            )
        return [as_model(row) for row in rows]

    async def register_version(self, version: VersionInfo) -> None:
        """Record a version that a runner has.

        What is there already stays; a model's latest version is the one that was made last.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(ENSURE_MODEL, version.owner, version.name)
            created = await connection.fetchval(
                """INSERT INTO versions (id, owner, name, pool, cog_version, openapi_schema, labels)
                   VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING RETURNING id""",
                version.version,
                version.owner,
                version.name,
                version.pool,
                version.cog_version,
                bytes(version.openapi_schema).decode(),
                _encode_labels(version),
            )
            if created:
                await connection.execute(UPDATE_DESCRIPTION, *_description_values(version))
                await connection.execute(
                    "UPDATE models SET latest_version = $3, updated_at = now() WHERE owner = $1 AND name = $2",
                    version.owner,
                    version.name,
                    created,
                )

    async def create_pushed_version(self, push: str, manifest: Manifest, built: BuildResult, logs: str) -> bool:
        """Record the version that a push made.

        Returns False if it was made before; then it may have been deleted since.
        """
        offer = built.offer
        with translate_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                if not await connection.fetchval(
                    "UPDATE predictions SET built = true WHERE id = $1 AND NOT built RETURNING true", push
                ):
                    return False
                await connection.execute(ENSURE_MODEL, offer.owner, offer.name)
                await connection.execute(UPDATE_DESCRIPTION, *_description_values(offer))
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
                    _encode_labels(offer),
                )
                await connection.execute(
                    "UPDATE models SET latest_version = $3, updated_at = now() WHERE owner = $1 AND name = $2",
                    offer.owner,
                    offer.name,
                    offer.version,
                )
        return True

    async def training_outcome(self, training: str) -> tuple[bool, str | None]:
        """Return whether it is decided what became of a training that succeeded, and its error if it failed."""
        with translate_errors():
            row = await self._pool.fetchrow(
                "SELECT built, CASE status WHEN 'failed' THEN error END AS error FROM predictions WHERE id = $1",
                training,
            )
        return (row["built"], row["error"]) if row else (False, None)

    async def create_trained_version(
        self, training: str, manifest: Manifest, logs: str, connection: Connection
    ) -> tuple[bool, str | None]:
        """Record the version that a training made, in the transaction of `connection`.

        Returns whether the version is new, and why it cannot be made, which then is the error that the training ends
        with. It may have been made before, by this training or by another one that came to the same weights.
        """
        assert manifest.weights is not None
        if not await connection.fetchval(
            "UPDATE predictions SET built = true WHERE id = $1 AND NOT built RETURNING true", training
        ):
            return False, await connection.fetchval(
                "SELECT error FROM predictions WHERE id = $1 AND status = 'failed'", training
            )
        # Locked in the order in which versions are deleted.
        base = await connection.fetchval("SELECT true FROM versions WHERE id = $1 FOR SHARE", manifest.base)
        model = await connection.fetchval(
            "SELECT true FROM models WHERE owner = $1 AND name = $2 FOR UPDATE", manifest.owner, manifest.name
        )
        if not (base and model):
            what = f"The model {manifest.owner}/{manifest.name}" if base else "The version that was trained"
            error = f"{what} was deleted before the training ended."
            await connection.execute(
                "UPDATE predictions SET status = 'failed', error = $2 WHERE id = $1", training, error
            )
            return False, error
        new = await connection.fetchval(
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
        await connection.execute(
            "UPDATE models SET latest_version = $3, updated_at = now() WHERE owner = $1 AND name = $2",
            manifest.owner,
            manifest.name,
            manifest.version,
        )
        return bool(new), None

    async def version_logs(self, id: str) -> tuple[str, str] | None:
        """Return the logs of a version's push or training, and of its set-up; None for any other version."""
        with translate_errors():
            row = await self._pool.fetchrow(
                "SELECT logs, setup_log FROM versions WHERE id = $1 AND coalesce(pack, base) IS NOT NULL", id
            )
        return (row["logs"], row["setup_log"]) if row else None

    async def delete_version(self, owner: str, name: str, id: str) -> dict[str, StoredVersionFiles]:
        """Delete a version; the newest of those that are left becomes the model's latest.

        Returns the version's files in the file store. Raises `Unprocessable` for a version that a deployment or a
        trained version needs.
        """
        with translate_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                rows = await connection.fetch("DELETE FROM versions WHERE id = $1 RETURNING id, pack, weights", id)
                await refuse_if_referenced(connection, [id])
                await connection.execute(UPDATE_LATEST_VERSION, owner, name)
        return {row["id"]: StoredVersionFiles(row["pack"], row["weights"]) for row in rows}

    async def delete_model(self, owner: str, name: str) -> dict[str, StoredVersionFiles]:
        """Delete a model with all its versions and return their files. Raises like `delete_version`."""
        with translate_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                rows = await connection.fetch(
                    "DELETE FROM versions WHERE owner = $1 AND name = $2 RETURNING id, pack, weights", owner, name
                )
                await refuse_if_referenced(connection, [row["id"] for row in rows])
                await connection.execute("DELETE FROM models WHERE owner = $1 AND name = $2", owner, name)
        return {row["id"]: StoredVersionFiles(row["pack"], row["weights"]) for row in rows}

    async def version_ids(self, owner: str, name: str) -> list[str]:
        """Return the ids of a model's versions."""
        with translate_errors():
            rows = await self._pool.fetch("SELECT id FROM versions WHERE owner = $1 AND name = $2", owner, name)
        return [row["id"] for row in rows]

    @asynccontextmanager
    async def lock(self, key: str) -> AsyncGenerator[Connection]:
        """Lock an archive's digest or a trained version's id, and yield the connection of one transaction.

        Nobody else decides about it meanwhile, whichever gateway they ask.
        """
        with translate_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"pack:{key}")
                yield connection

    async def archives_in_use(self, digests: Sequence[str], connection: Connection | None = None) -> set[str]:
        """Return those of these archives that a version or an unfinished push is made of."""
        with translate_errors():
            rows = await (connection or self._pool).fetch(
                f"""SELECT pack FROM versions WHERE pack = ANY($1)
                    UNION
                   SELECT input->>'pack' FROM predictions
                    WHERE kind = 'build' AND {IS_UNFINISHED} AND input->>'pack' = ANY($1)""",
                list(digests),
            )
        return {row["pack"] for row in rows}

    async def weights_in_use(self, keys: Sequence[str], connection: Connection | None = None) -> set[str]:
        """Return those of these files that are the weights of a trained version."""
        with translate_errors():
            rows = await (connection or self._pool).fetch(
                "SELECT weights FROM versions WHERE weights = ANY($1)", list(keys)
            )
        return {row["weights"] for row in rows}

    async def versions_in_use(self, ids: Sequence[str], connection: Connection | None = None) -> set[str]:
        """Return those of these versions that exist or are being built."""
        with translate_errors():
            rows = await (connection or self._pool).fetch(
                f"""SELECT id FROM versions WHERE id = ANY($1)
                    UNION
                   SELECT version FROM predictions
                    WHERE kind = 'build' AND {IS_UNFINISHED} AND version = ANY($1)""",
                list(ids),
            )
        return {row["id"] for row in rows}

    async def add_runs(self, runs: Mapping[str, int]) -> None:
        """Add to the run counts of models, by `owner/name`."""
        with translate_errors():
            await self._pool.executemany(
                "UPDATE models SET run_count = run_count + $3 WHERE owner = $1 AND name = $2",
                [(*model.split("/", 1), runs[model]) for model in sorted(runs)],  # sorted: no two gateways can deadlock
            )


def _description_values(version: VersionInfo) -> tuple[str | None, ...]:
    """Return the parameters of `UPDATE_DESCRIPTION`."""
    urls = version.github_url, version.paper_url, version.license_url
    return version.owner, version.name, version.description, version.readme, *urls


def _encode_labels(version: VersionInfo) -> str:
    return json.encode(version.labels).decode()


def as_model(row: asyncpg.Record) -> Model:
    """Build a model from its row, which has the columns of `MODEL`."""
    return convert(dict(row), Model)
