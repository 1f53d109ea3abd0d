"""Models that people create and describe over HTTP, in the database."""

from collections.abc import Mapping

import asyncpg

from gateway.store.connection import translate_errors
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


class DescriptionStore:
    """The descriptions that people write about models: creation and changes."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def create(self, owner: str, name: str, fields: Mapping[str, str | None]) -> Model | None:
        """Create a model and return it, or None if the name is taken."""
        columns, values = _writable_columns(fields), list(fields.values())
        with translate_errors():
            row = await self._pool.fetchrow(
                f"""INSERT INTO models (owner, name{"".join(f", {each}" for each in columns)})
                    VALUES ($1, $2{"".join(f", ${n}" for n in range(3, len(values) + 3))})
                    ON CONFLICT DO NOTHING RETURNING {MODEL}""",
                owner,
                name,
                *values,
            )
        return as_model(row) if row else None

    async def update(self, owner: str, name: str, fields: Mapping[str, str | None]) -> Model | None:
        """Change fields of a model and return it.

        Returns None if the model is gone, or if `default_example` is no example of it.
        """
        columns, values = _writable_columns(fields), list(fields.values())
        changes = [f"{each} = ${n}" for n, each in enumerate(columns, 4)]
        with translate_errors():
            row = await self._pool.fetchrow(
                f"""UPDATE models m SET {", ".join(["created_at = created_at", *changes])}
                     WHERE owner = $1 AND name = $2 AND ($3::text IS NULL OR EXISTS (
                           SELECT FROM examples e WHERE (e.owner, e.name, e.prediction) = (m.owner, m.name, $3)))
                 RETURNING {MODEL}""",
                owner,
                name,
                fields.get("default_example"),
                *values,
            )
        return as_model(row) if row else None


def _writable_columns(fields: Mapping[str, str | None]) -> list[str]:
    assert fields.keys() <= WRITABLE, "they become part of a statement"
    return list(fields)
