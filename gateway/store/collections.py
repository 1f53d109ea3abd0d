"""Collections of models in the database."""

from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg
from asyncpg.pool import PoolConnectionProxy as Connection
from msgspec import Struct

from gateway.errors import NotFound
from gateway.store.accounts import Account
from gateway.store.connection import translate_errors
from gateway.store.models import MODEL, Model, as_model

COLUMNS = "name, slug, description, full_description"
WRITABLE = frozenset({"name", "slug", "description", "full_description"})


class Collection(Struct, frozen=True, kw_only=True):
    """A named collection of models, without its models."""

    name: str
    slug: str
    description: str
    full_description: str | None


class SlugTaken(Exception):
    """Another collection has this slug."""


class UnknownModels(Exception):
    """Some of the models that a collection should have do not exist."""

    def __init__(self, models: Sequence[str]) -> None:
        super().__init__(", ".join(models))


class CollectionStore:
    """The collections and the models in each."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def list_all(self) -> list[Collection]:
        """Return all collections, by name."""
        with translate_errors():
            rows = await self._pool.fetch(f"SELECT {COLUMNS} FROM collections ORDER BY name, slug")
        return [Collection(**row) for row in rows]

    async def get(self, slug: str) -> Collection | None:
        """Return the collection of this slug, or None."""
        with translate_errors():
            row = await self._pool.fetchrow(f"SELECT {COLUMNS} FROM collections WHERE slug = $1", slug)
        return Collection(**row) if row else None

    async def list_models(self, slug: str, account: Account) -> list[Model]:
        """Return the models of a collection that this account may see, in order."""
        columns = ", ".join(f"m.{each.strip()}" for each in MODEL.split(","))
        with translate_errors():
            rows = await self._pool.fetch(
                f"""SELECT {columns} FROM collected c JOIN models m USING (owner, name)
                     WHERE slug = $1 AND (visibility = 'public' OR owner = $2 OR $3)
                     ORDER BY position, owner, name""",
                slug,
                account.username,
                "admin" in account.scopes,
            )
        return [as_model(row) for row in rows]

    async def slugs_of_models(self, models: Sequence[Model]) -> dict[tuple[str, str], list[str]]:
        """Return the slugs of the collections that each of these models is in, by (owner, name)."""
        with translate_errors():
            rows = await self._pool.fetch(
                """SELECT owner, name, array_agg(slug ORDER BY slug) AS slugs
                     FROM collected JOIN unnest($1::text[], $2::text[]) AS e (owner, name) USING (owner, name)
                    GROUP BY owner, name""",
                [model.owner for model in models],
                [model.name for model in models],
            )
        return {(row["owner"], row["name"]): row["slugs"] for row in rows}

    async def create(self, collection: Collection, models: Sequence[str]) -> None:
        """Create a collection with these models, named `owner/name`.

        Raises `SlugTaken` or `UnknownModels`; then nothing was created.
        """
        with translate_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                if not await connection.fetchval(
                    f"""INSERT INTO collections ({COLUMNS}) VALUES ($1, $2, $3, $4)
                        ON CONFLICT DO NOTHING RETURNING true""",
                    collection.name,
                    collection.slug,
                    collection.description,
                    collection.full_description,
                ):
                    raise SlugTaken
                await _add_models(connection, collection.slug, models)

    async def update(self, slug: str, fields: Mapping[str, Any], models: Sequence[str] | None) -> Collection:
        """Change fields of a collection; `models`, if given, replace all that it has.

        Raises `NotFound`, `SlugTaken` or `UnknownModels`; then nothing changed.
        """
        assert fields.keys() <= WRITABLE, "they become part of a statement"
        changes = ["created_at = created_at", *(f"{each} = ${n}" for n, each in enumerate(fields, 2))]
        with translate_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                try:
                    row = await connection.fetchrow(
                        f"UPDATE collections SET {', '.join(changes)} WHERE slug = $1 RETURNING {COLUMNS}",
                        slug,
                        *fields.values(),
                    )
                except asyncpg.UniqueViolationError as error:
                    raise SlugTaken from error
                if row is None:
                    raise NotFound
                if models is not None:
                    await connection.execute("DELETE FROM collected WHERE slug = $1", row["slug"])
                    await _add_models(connection, row["slug"], models)
        return Collection(**row)

    async def delete(self, slug: str) -> bool:
        """Delete a collection but not its models; return False if there is none."""
        with translate_errors():
            return await self._pool.fetchval("DELETE FROM collections WHERE slug = $1 RETURNING true", slug) or False


async def _add_models(connection: Connection, slug: str, models: Sequence[str]) -> None:
    names = list(dict.fromkeys(models))
    rows = await connection.fetch(
        """WITH existing AS MATERIALIZED (
               SELECT owner, name, position
                 FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS e (owner, name, position)
                 JOIN models USING (owner, name) ORDER BY owner, name FOR KEY SHARE OF models)
           INSERT INTO collected (slug, owner, name, position) SELECT $1, owner, name, position FROM existing
        RETURNING owner || '/' || name AS model""",
        slug,
        [name.partition("/")[0] for name in names],
        [name.partition("/")[2] for name in names],
    )
    added = {row["model"] for row in rows}
    if missing := [name for name in names if name not in added]:
        raise UnknownModels(missing)
