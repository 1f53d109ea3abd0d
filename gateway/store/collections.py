"""Collections of models, in the record."""

from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg
from asyncpg.pool import PoolConnectionProxy as Connection
from msgspec import Struct

from gateway.errors import NotFound
from gateway.store.accounts import Account
from gateway.store.connection import reached
from gateway.store.models import MODEL, Model, as_model

COLUMNS = "name, slug, description, full_description"
WRITABLE = frozenset({"name", "slug", "description", "full_description"})


class Collection(Struct, frozen=True, kw_only=True):
    name: str
    slug: str
    description: str
    full_description: str | None


class Taken(Exception):
    """There is a collection of this slug."""


class Unknown(Exception):
    """Some of the models that a collection should have are not there."""

    def __init__(self, models: Sequence[str]) -> None:
        super().__init__(", ".join(models))


class Collections:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def all(self) -> list[Collection]:
        """By name."""
        with reached():
            rows = await self._pool.fetch(f"SELECT {COLUMNS} FROM collections ORDER BY name, slug")
        return [Collection(**row) for row in rows]

    async def get(self, slug: str) -> Collection | None:
        with reached():
            row = await self._pool.fetchrow(f"SELECT {COLUMNS} FROM collections WHERE slug = $1", slug)
        return Collection(**row) if row else None

    async def models(self, slug: str, account: Account) -> list[Model]:
        """Those of them that this account may see, in order."""
        columns = ", ".join(f"m.{each.strip()}" for each in MODEL.split(","))
        with reached():
            rows = await self._pool.fetch(
                f"""SELECT {columns} FROM collected c JOIN models m USING (owner, name)
                     WHERE slug = $1 AND (visibility = 'public' OR owner = $2 OR $3)
                     ORDER BY position, owner, name""",
                slug,
                account.username,
                "admin" in account.scopes,
            )
        return [as_model(row) for row in rows]

    async def tags(self, models: Sequence[Model]) -> dict[tuple[str, str], list[str]]:
        """The slugs of the collections that each of these models is in."""
        with reached():
            rows = await self._pool.fetch(
                """SELECT owner, name, array_agg(slug ORDER BY slug) AS slugs
                     FROM collected JOIN unnest($1::text[], $2::text[]) AS e (owner, name) USING (owner, name)
                    GROUP BY owner, name""",
                [model.owner for model in models],
                [model.name for model in models],
            )
        return {(row["owner"], row["name"]): row["slugs"] for row in rows}

    async def create(self, made: Collection, models: Sequence[str]) -> None:
        """Raises `Taken` or `Unknown`: then nothing was made."""
        with reached():
            async with self._pool.acquire() as connection, connection.transaction():
                if not await connection.fetchval(
                    f"""INSERT INTO collections ({COLUMNS}) VALUES ($1, $2, $3, $4)
                        ON CONFLICT DO NOTHING RETURNING true""",
                    made.name,
                    made.slug,
                    made.description,
                    made.full_description,
                ):
                    raise Taken
                await _collect(connection, made.slug, models)

    async def update(self, slug: str, given: Mapping[str, Any], models: Sequence[str] | None) -> Collection:
        """Models take the place of all that it has. Raises `NotFound`, `Taken` or `Unknown`: then nothing changed."""
        assert given.keys() <= WRITABLE, "they become part of a statement"
        changes = ["created_at = created_at", *(f"{each} = ${n}" for n, each in enumerate(given, 2))]
        with reached():
            async with self._pool.acquire() as connection, connection.transaction():
                try:
                    row = await connection.fetchrow(
                        f"UPDATE collections SET {', '.join(changes)} WHERE slug = $1 RETURNING {COLUMNS}",
                        slug,
                        *given.values(),
                    )
                except asyncpg.UniqueViolationError as error:
                    raise Taken from error
                if row is None:
                    raise NotFound
                if models is not None:
                    await connection.execute("DELETE FROM collected WHERE slug = $1", row["slug"])
                    await _collect(connection, row["slug"], models)
        return Collection(**row)

    async def delete(self, slug: str) -> bool:
        """Its models stay. False: there is none."""
        with reached():
            return await self._pool.fetchval("DELETE FROM collections WHERE slug = $1 RETURNING true", slug) or False


async def _collect(on: Connection, slug: str, models: Sequence[str]) -> None:
    names = list(dict.fromkeys(models))
    rows = await on.fetch(
        """WITH found AS MATERIALIZED (
               SELECT owner, name, position
                 FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS e (owner, name, position)
                 JOIN models USING (owner, name) ORDER BY owner, name FOR KEY SHARE OF models)
           INSERT INTO collected (slug, owner, name, position) SELECT $1, owner, name, position FROM found
        RETURNING owner || '/' || name AS model""",
        slug,
        [name.partition("/")[0] for name in names],
        [name.partition("/")[2] for name in names],
    )
    there = {row["model"] for row in rows}
    if missing := [name for name in names if name not in there]:
        raise Unknown(missing)
