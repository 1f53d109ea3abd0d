"""Models that people make and describe themselves, in the record."""

from collections.abc import Mapping

import asyncpg

from gateway.store.connection import reached
from gateway.store.models import MODEL, Model, as_model

WRITABLE = frozenset(
    {
        "description",
        "readme",
        "visibility",
        "hardware",
        "github_url",
        "paper_url",
        "weights_url",
        "license_url",
        "cover_image_url",
        "default_example",
    }
)


class Descriptions:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def create(self, owner: str, name: str, given: Mapping[str, str | None]) -> Model | None:
        """None: there is one of this name."""
        columns, values = _columns(given), list(given.values())
        with reached():
            row = await self._pool.fetchrow(
                f"""INSERT INTO models (owner, name{"".join(f", {each}" for each in columns)})
                    VALUES ($1, $2{"".join(f", ${n}" for n in range(3, len(values) + 3))})
                    ON CONFLICT DO NOTHING RETURNING {MODEL}""",
                owner,
                name,
                *values,
            )
        return as_model(row) if row else None

    async def update(self, owner: str, name: str, given: Mapping[str, str | None]) -> Model | None:
        """None: it is gone, or what is to be its default example is no example of it."""
        columns, values = _columns(given), list(given.values())
        changes = [f"{each} = ${n}" for n, each in enumerate(columns, 4)]
        with reached():
            row = await self._pool.fetchrow(
                f"""UPDATE models m SET {", ".join(["created_at = created_at", *changes])}
                     WHERE owner = $1 AND name = $2 AND ($3::text IS NULL OR EXISTS (
                           SELECT FROM examples e WHERE (e.owner, e.name, e.prediction) = (m.owner, m.name, $3)))
                 RETURNING {MODEL}""",
                owner,
                name,
                given.get("default_example"),
                *values,
            )
        return as_model(row) if row else None


def _columns(given: Mapping[str, str | None]) -> list[str]:
    assert given.keys() <= WRITABLE, "they become part of a statement"
    return list(given)
