"""Deployments and their releases in the database."""

from collections.abc import Sequence
from datetime import datetime

import asyncpg
from asyncpg.pool import PoolConnectionProxy as Connection
from msgspec import Struct, json

from gateway.store.connection import translate_errors
from gateway.store.pages import Cursor, RowPage, fetch_page
from gateway.store.statuses import IS_UNFINISHED
from schemas import subjects

RELEASE_JSON = """json_build_object(
        'deployment', {0}.deployment, 'number', {0}.number, 'queue', {0}.queue, 'model', {0}.model,
        'version', {0}.version, 'hardware', {0}.hardware, 'min_instances', {0}.min_instances,
        'max_instances', {0}.max_instances, 'created_at', {0}.created_at,
        'created_by', (SELECT json_build_object('type', a.type, 'username', a.username, 'name', a.name,
                                                'github_url', a.github_url, 'avatar_url', a.avatar_url)
                         FROM accounts a WHERE a.id = {0}.created_by))"""
SELECT = f"""
    SELECT d.id, d.owner, d.name, d.created_at, d.used_at,
           {RELEASE_JSON.format("n")} AS newest, {RELEASE_JSON.format("s")} AS serving
      FROM deployments d
      JOIN releases n ON n.deployment = d.id AND n.number = d.newest
      JOIN releases s ON s.deployment = d.id AND s.number = d.serving
"""
# A release with the version and hardware of the newest release, or of the one that serves, keeps that one's queue and
# instances: only their number may change.
INSERT_RELEASE = """
    INSERT INTO releases (deployment, number, queue, model, version, hardware, min_instances, max_instances, created_by)
    SELECT $1, $2::int,
           CASE (g.version, g.hardware)
                WHEN (n.version, n.hardware) THEN n.queue WHEN (s.version, s.hardware) THEN s.queue ELSE $2 END,
           g.*, $5
      FROM releases n, releases s,
           (SELECT b.model, coalesce($6, b.version) AS version, coalesce($7, b.hardware) AS hardware,
                   coalesce($8, b.min_instances) AS least, coalesce($9, b.max_instances) AS most
              FROM releases b WHERE b.deployment = $1 AND b.number = $4) AS g
     WHERE n.deployment = $1 AND n.number = $2 - 1 AND s.deployment = $1 AND s.number = $3
    RETURNING min_instances, max_instances
"""
# A release that keeps the queue of the one that serves, or that is paused, has nothing to warm up.
PROMOTE_RELEASE = """
    UPDATE deployments d SET serving = d.newest
      FROM releases n, releases s
     WHERE d.id = $1 AND n.deployment = d.id AND n.number = d.newest AND s.deployment = d.id AND s.number = d.serving
       AND (n.queue = s.queue OR n.max_instances = 0)
"""


class ReleaseAuthor(Struct, frozen=True, kw_only=True):
    """The account that made a release."""

    type: str
    username: str
    name: str
    github_url: str | None
    avatar_url: str | None


class Release(Struct, frozen=True, kw_only=True):
    """A configuration of a deployment: a version, its hardware, and how many instances it may have."""

    deployment: int
    number: int
    queue: int
    """Number of the first release of this queue."""
    model: str
    version: str
    hardware: str
    min_instances: int
    max_instances: int
    created_at: datetime
    created_by: ReleaseAuthor | None

    @property
    def pool(self) -> str:
        """The pool of this release's jobs; releases that share a queue share it."""
        return subjects.release(self.deployment, self.queue)

    @property
    def service(self) -> str:
        """The service that serves this release, as runners name it."""
        return subjects.service(self.pool, self.version)


class Deployment(Struct, frozen=True, kw_only=True):
    """A deployment with its newest release and the one that serves."""

    id: int
    owner: str
    name: str
    newest: Release
    serving: Release
    """The release that takes its predictions."""
    created_at: datetime
    used_at: datetime | None

    @property
    def full_name(self) -> str:
        """The deployment's name as `owner/name`."""
        return f"{self.owner}/{self.name}"


class ReleaseChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields in which a new release differs from the one it is based on; None keeps a field."""

    version: str | None = None
    hardware: str | None = None
    min_instances: int | None = None
    max_instances: int | None = None


class InvalidInstanceLimits(Exception):
    """The new release would have a larger `min_instances` than `max_instances`."""


class DeploymentStore:
    """The deployments of all accounts and their releases."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def create(self, account: int, owner: str, name: str, release: ReleaseChange, model: str) -> bool:
        """Create a deployment with its first release; return False if the name is taken."""
        with translate_errors():
            created = await self._pool.fetchval(
                """WITH created AS (
                       INSERT INTO deployments (account, owner, name) VALUES ($1, $2, $3)
                       ON CONFLICT (owner, name) DO NOTHING RETURNING id)
                   INSERT INTO releases (deployment, number, queue, model, version, hardware, min_instances,
                                         max_instances, created_by)
                   SELECT id, 1, 1, $4, $5, $6, $7, $8, $1 FROM created RETURNING deployment""",
                account,
                owner,
                name,
                model,
                release.version,
                release.hardware,
                release.min_instances,
                release.max_instances,
            )
        return created is not None

    async def get(self, account: int, owner: str, name: str) -> Deployment | None:
        """Return a deployment of this account, or None."""
        with translate_errors():
            row = await self._pool.fetchrow(
                f"{SELECT} WHERE d.account = $1 AND d.owner = $2 AND d.name = $3", account, owner, name
            )
        return as_deployment(row) if row else None

    async def page(self, account: int, cursor: Cursor | None, size: int) -> RowPage[Deployment]:
        """Return one page of an account's deployments, newest first."""
        return await fetch_page(
            self._pool,
            f"SELECT * FROM ({SELECT} WHERE d.account = $1) AS d WHERE true",
            (account,),
            by=("created_at", "name"),
            cursor=cursor,
            size=size,
            from_row=as_deployment,
        )

    async def release_page(self, deployment: int, cursor: Cursor | None, size: int) -> RowPage[Release]:
        """Return one page of a deployment's releases, newest first."""
        return await fetch_page(
            self._pool,
            f"""SELECT * FROM (
                    SELECT r.created_at, lpad(r.number::text, 10, '0') AS number, {RELEASE_JSON.format("r")} AS release
                      FROM releases r WHERE r.deployment = $1) AS r WHERE true""",
            (deployment,),
            by=("created_at", "number"),
            cursor=cursor,
            size=size,
            from_row=lambda row: json.decode(row["release"], type=Release),
        )

    async def create_release(self, id: int, account: int, change: ReleaseChange, base: int | None = None) -> bool:
        """Create a release like the newest one, or like number `base`, but for the change.

        Returns False if there is no such deployment. Raises `LookupError` if there is no release to base it on, and
        `InvalidInstanceLimits`.
        """
        with translate_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                return await _create_release(connection, id, account, change, base)

    async def list_all(self) -> tuple[datetime, list[Deployment]]:
        """Return all deployments, and the database's time at which they were so."""
        with translate_errors():
            async with self._pool.acquire() as connection, connection.transaction(isolation="repeatable_read"):
                at = await connection.fetchval("SELECT clock_timestamp()")
                rows = await connection.fetch(f"{SELECT} ORDER BY d.id")
        return at, [as_deployment(row) for row in rows]

    async def last_releases(self, pools: Sequence[str]) -> list[Release]:
        """Return the last release of each of these pools."""
        with translate_errors():
            rows = await self._pool.fetch(
                f"""SELECT DISTINCT ON (r.deployment, r.queue) {RELEASE_JSON.format("r")} AS release
                      FROM releases r WHERE 'd' || r.deployment || '+' || r.queue = ANY($1)
                     ORDER BY r.deployment, r.queue, r.number DESC""",
                list(pools),
            )
        return [json.decode(row["release"], type=Release) for row in rows]

    async def promote_newest(self, id: int, number: int) -> bool:
        """Let the newest release take predictions from now on.

        Returns False if it does already, or if `number` is not the newest any more.
        """
        with translate_errors():
            return (
                await self._pool.fetchval(
                    """UPDATE deployments SET serving = $2
                        WHERE id = $1 AND newest = $2 AND serving <> $2 RETURNING true""",
                    id,
                    number,
                )
                or False
            )

    async def mark_used(self, ids: Sequence[int]) -> None:
        """Set the time at which these deployments were last used to now."""
        with translate_errors():
            await self._pool.execute("UPDATE deployments SET used_at = now() WHERE id = ANY($1)", list(ids))

    async def delete(self, id: int) -> bool:
        """Delete a deployment; return False while predictions of it wait or run."""
        with translate_errors():
            return (
                await self._pool.fetchval(
                    f"""DELETE FROM deployments d WHERE d.id = $1 AND NOT EXISTS (
                           SELECT FROM predictions p
                            WHERE p.{IS_UNFINISHED} AND p.account = d.account
                              AND p.deployment = d.owner || '/' || d.name)
                       RETURNING true""",
                    id,
                )
                or False
            )


async def _create_release(
    connection: "Connection", id: int, account: int, change: ReleaseChange, back: int | None
) -> bool:
    row = await connection.fetchrow(
        "UPDATE deployments SET newest = newest + 1 WHERE id = $1 RETURNING newest, serving", id
    )
    if row is None:
        return False
    newest, serving = row["newest"], row["serving"]
    base = newest - 1 if back is None else back
    created = await connection.fetchrow(
        INSERT_RELEASE,
        id,
        newest,
        serving,
        base,
        account,
        change.version,
        change.hardware,
        change.min_instances,
        change.max_instances,
    )
    if created is None:
        raise LookupError
    if created["max_instances"] < created["min_instances"]:
        raise InvalidInstanceLimits
    await connection.execute(PROMOTE_RELEASE, id)
    return True


def as_deployment(row: asyncpg.Record) -> Deployment:
    """Build a deployment from its row."""
    return Deployment(
        id=row["id"],
        owner=row["owner"],
        name=row["name"],
        newest=json.decode(row["newest"], type=Release),
        serving=json.decode(row["serving"], type=Release),
        created_at=row["created_at"],
        used_at=row["used_at"],
    )
