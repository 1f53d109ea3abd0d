"""Example predictions of models in the database."""

from collections.abc import Sequence

import asyncpg

from gateway.store.accounts import Account
from gateway.store.connection import translate_errors
from gateway.store.models import Model
from gateway.store.pages import Cursor, RowPage, fetch_page
from gateway.store.predictions import COLUMNS, as_prediction
from schemas.prediction import Prediction

SELECT_EXAMPLES = f"""
    SELECT * FROM (
        SELECT {COLUMNS}, saved_at FROM predictions
          JOIN (SELECT prediction, created_at AS saved_at FROM examples WHERE owner = $1 AND name = $2) e
            ON e.prediction = id) AS examples
     WHERE true
"""


class ExampleStore:
    """The predictions that are shown as examples of a model."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def page(self, owner: str, name: str, cursor: Cursor | None, size: int) -> RowPage[Prediction]:
        """Return one page of a model's examples, the last to become one first."""
        return await fetch_page(
            self._pool,
            SELECT_EXAMPLES,
            (owner, name),
            by=("saved_at", "id"),
            cursor=cursor,
            size=size,
            from_row=as_prediction,
        )

    async def default_examples(self, models: Sequence[Model]) -> dict[str, Prediction]:
        """Return the default examples of these models, by prediction id."""
        ids = [model.default_example for model in models if model.default_example]
        if not ids:
            return {}
        with translate_errors():
            rows = await self._pool.fetch(
                f"""SELECT {COLUMNS} FROM predictions p WHERE id = ANY($1)
                       AND EXISTS (SELECT FROM examples e WHERE e.prediction = p.id)""",
                ids,
            )
        return {row["id"]: as_prediction(row) for row in rows}

    async def find_visible(self, id: str, account: Account) -> Prediction | None:
        """Return an example that this account may see, whoever ran it, or None."""
        with translate_errors():
            row = await self._pool.fetchrow(
                f"""SELECT {COLUMNS} FROM predictions p WHERE id = $1 AND EXISTS (
                           SELECT FROM examples e JOIN models m USING (owner, name)
                            WHERE e.prediction = p.id AND (m.visibility = 'public' OR m.owner = $2 OR $3))""",
                id,
                account.username,
                "admin" in account.scopes,
            )
        return as_prediction(row) if row else None

    async def add(self, owner: str, name: str, prediction: str) -> bool | None:
        """Make a prediction an example of a model; return False if it is one already.

        Returns None if it is no prediction of that model, has not succeeded, or has had its data removed.
        """
        with translate_errors():
            added = await self._pool.fetchval(
                """INSERT INTO examples (owner, name, prediction)
                   SELECT m.owner, m.name, p.id FROM models m, predictions p
                    WHERE m.owner = $1 AND m.name = $2 AND p.id = $3 AND p.model = m.owner || '/' || m.name
                      AND p.kind = 'predict' AND p.status = 'succeeded' AND NOT p.removed
                      FOR KEY SHARE OF m FOR SHARE OF p
                   ON CONFLICT DO NOTHING RETURNING true""",
                owner,
                name,
                prediction,
            )
            return added or (False if await self._exists(owner, name, prediction) else None)

    async def remove(self, owner: str, name: str, prediction: str) -> bool:
        """Remove an example, also as the model's default; return False if it was none."""
        with translate_errors():
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute(
                    """UPDATE models SET default_example = NULL
                        WHERE owner = $1 AND name = $2 AND default_example = $3""",
                    owner,
                    name,
                    prediction,
                )
                removed = await connection.fetchval(
                    "DELETE FROM examples WHERE owner = $1 AND name = $2 AND prediction = $3 RETURNING true",
                    owner,
                    name,
                    prediction,
                )
        return removed or False

    async def _exists(self, owner: str, name: str, prediction: str) -> bool:
        return await self._pool.fetchval(
            "SELECT EXISTS (SELECT FROM examples WHERE owner = $1 AND name = $2 AND prediction = $3)",
            owner,
            name,
            prediction,
        )
