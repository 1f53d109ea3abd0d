"""Deployments and their releases in the record."""

from collections.abc import Sequence
from datetime import datetime

import asyncpg
from asyncpg.pool import PoolConnectionProxy as Connection
from msgspec import Struct, json

from gateway.store.connection import reached
from gateway.store.pages import Cursor, Listed, listed
from schemas import subjects

RELEASE = """json_build_object(
        'deployment', {0}.deployment, 'number', {0}.number, 'queue', {0}.queue, 'model', {0}.model,
        'version', {0}.version, 'hardware', {0}.hardware, 'min_instances', {0}.min_instances,
        'max_instances', {0}.max_instances, 'created_at', {0}.created_at,
        'created_by', (SELECT json_build_object('type', a.type, 'username', a.username, 'name', a.name,
                                                'github_url', a.github_url, 'avatar_url', a.avatar_url)
                         FROM accounts a WHERE a.id = {0}.created_by))"""
SELECT = f"""
    SELECT d.id, d.owner, d.name, d.created_at, d.used_at,
           {RELEASE.format("n")} AS newest, {RELEASE.format("s")} AS serving
      FROM deployments d
      JOIN releases n ON n.deployment = d.id AND n.number = d.newest
      JOIN releases s ON s.deployment = d.id AND s.number = d.serving
"""
# A release that runs the same on the same hardware as the newest one, or as the one that serves, goes on with its
# queue and its instances: only how many there are may change.
NEW_RELEASE = """
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
# What goes on with the queue of the one that serves, or is paused, has nothing to warm up.
TAKE_OVER = """
    UPDATE deployments d SET serving = d.newest
      FROM releases n, releases s
     WHERE d.id = $1 AND n.deployment = d.id AND n.number = d.newest AND s.deployment = d.id AND s.number = d.serving
       AND (n.queue = s.queue OR n.max_instances = 0)
"""


class By(Struct, frozen=True, kw_only=True):
    """Who made a release."""

    type: str
    username: str
    name: str
    github_url: str | None
    avatar_url: str | None


class Release(Struct, frozen=True, kw_only=True):
    deployment: int
    number: int
    queue: int
    """The number of the first release that this queue was made for."""
    model: str
    version: str
    hardware: str
    min_instances: int
    max_instances: int
    created_at: datetime
    created_by: By | None

    @property
    def pool(self) -> str:
        return subjects.release(self.deployment, self.queue)

    @property
    def service(self) -> str:
        return subjects.service(self.pool, self.version)


class Deployment(Struct, frozen=True, kw_only=True):
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
        return f"{self.owner}/{self.name}"


class Change(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a new release has unlike the one before; None: the same."""

    version: str | None = None
    hardware: str | None = None
    min_instances: int | None = None
    max_instances: int | None = None


class TooFew(Exception):
    """The new release would have fewer instances at most than at least."""


class Deployments:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def create(self, account: int, owner: str, name: str, release: Change, model: str) -> bool:
        """False: there is one of this name."""
        with reached():
            made = await self._pool.fetchval(
                """WITH made AS (
                       INSERT INTO deployments (account, owner, name) VALUES ($1, $2, $3)
                       ON CONFLICT (owner, name) DO NOTHING RETURNING id)
                   INSERT INTO releases (deployment, number, queue, model, version, hardware, min_instances,
                                         max_instances, created_by)
                   SELECT id, 1, 1, $4, $5, $6, $7, $8, $1 FROM made RETURNING deployment""",
                account,
                owner,
                name,
                model,
                release.version,
                release.hardware,
                release.min_instances,
                release.max_instances,
            )
        return made is not None

    async def get(self, account: int, owner: str, name: str) -> Deployment | None:
        with reached():
            row = await self._pool.fetchrow(
                f"{SELECT} WHERE d.account = $1 AND d.owner = $2 AND d.name = $3", account, owner, name
            )
        return as_deployment(row) if row else None

    async def page(self, account: int, cursor: Cursor | None, size: int) -> Listed[Deployment]:
        """Newest first."""
        return await listed(
            self._pool,
            f"SELECT * FROM ({SELECT} WHERE d.account = $1) AS d WHERE true",
            (account,),
            by=("created_at", "name"),
            cursor=cursor,
            size=size,
            read=as_deployment,
        )

    async def releases(self, deployment: int, cursor: Cursor | None, size: int) -> Listed[Release]:
        """Newest first."""
        return await listed(
            self._pool,
            f"""SELECT * FROM (
                    SELECT r.created_at, lpad(r.number::text, 10, '0') AS number, {RELEASE.format("r")} AS release
                      FROM releases r WHERE r.deployment = $1) AS r WHERE true""",
            (deployment,),
            by=("created_at", "number"),
            cursor=cursor,
            size=size,
            read=lambda row: json.decode(row["release"], type=Release),
        )

    async def release(self, id: int, account: int, change: Change, back: int | None = None) -> bool:
        """One more release: like the newest, or like number `back`, but for the change.

        False: there is none like that. Raises `TooFew`.
        """
        with reached():
            async with self._pool.acquire() as connection, connection.transaction():
                return await _released(connection, id, account, change, back)

    async def active(self) -> tuple[datetime, list[Deployment]]:
        """All there are, and when the record said so."""
        with reached():
            async with self._pool.acquire() as connection, connection.transaction(isolation="repeatable_read"):
                at = await connection.fetchval("SELECT clock_timestamp()")
                rows = await connection.fetch(f"{SELECT} ORDER BY d.id")
        return at, [as_deployment(row) for row in rows]

    async def of_pools(self, pools: Sequence[str]) -> list[Release]:
        """The last release of each of these queues."""
        with reached():
            rows = await self._pool.fetch(
                f"""SELECT DISTINCT ON (r.deployment, r.queue) {RELEASE.format("r")} AS release
                      FROM releases r WHERE 'd' || r.deployment || '+' || r.queue = ANY($1)
                     ORDER BY r.deployment, r.queue, r.number DESC""",
                list(pools),
            )
        return [json.decode(row["release"], type=Release) for row in rows]

    async def take_over(self, id: int, number: int) -> bool:
        """The newest release takes predictions from now on. False: it did, or is the newest no more."""
        with reached():
            return (
                await self._pool.fetchval(
                    """UPDATE deployments SET serving = $2
                        WHERE id = $1 AND newest = $2 AND serving <> $2 RETURNING true""",
                    id,
                    number,
                )
                or False
            )

    async def note_used(self, ids: Sequence[int]) -> None:
        with reached():
            await self._pool.execute("UPDATE deployments SET used_at = now() WHERE id = ANY($1)", list(ids))

    async def delete(self, id: int) -> bool:
        """False: predictions of it wait or run."""
        with reached():
            return (
                await self._pool.fetchval(
                    """DELETE FROM deployments d WHERE d.id = $1 AND NOT EXISTS (
                           SELECT FROM predictions p
                            WHERE p.status IN ('starting', 'processing') AND p.account = d.account
                              AND p.deployment = d.owner || '/' || d.name)
                       RETURNING true""",
                    id,
                )
                or False
            )


async def _released(connection: "Connection", id: int, account: int, change: Change, back: int | None) -> bool:
    row = await connection.fetchrow(
        "UPDATE deployments SET newest = newest + 1 WHERE id = $1 RETURNING newest, serving", id
    )
    if row is None:
        return False
    newest, serving = row["newest"], row["serving"]
    base = newest - 1 if back is None else back
    made = await connection.fetchrow(
        NEW_RELEASE,
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
    if made is None or made["max_instances"] < made["min_instances"]:
        raise TooFew if made is not None else LookupError
    await connection.execute(TAKE_OVER, id)
    return True


def as_deployment(row: asyncpg.Record) -> Deployment:
    return Deployment(
        id=row["id"],
        owner=row["owner"],
        name=row["name"],
        newest=json.decode(row["newest"], type=Release),
        serving=json.decode(row["serving"], type=Release),
        created_at=row["created_at"],
        used_at=row["used_at"],
    )
