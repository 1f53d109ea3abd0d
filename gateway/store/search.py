"""Full-text search of models and collections, ranked by PostgreSQL."""

import re
from typing import Any, Final

import asyncpg
from msgspec import Struct

from gateway.store.accounts import Account
from gateway.store.connection import translate_errors
from gateway.store.models import MODEL, Model, as_model
from gateway.store.pages import Cursor, RowPage, fetch_page

MAX_PHRASE_LENGTH: Final = 500
"""Characters of a phrase that are used: PostgreSQL refuses a word of more than 2 kB."""
NAME_SEPARATOR: Final = re.compile(r"(?<=\w)[-_./]+(?=\w)")
"""What joins the parts of a name; in the index, each part is a word."""
LAST_WORD: Final = re.compile(r"(?:^|(?<=\s))[^\W_]+$")

# The phrase itself, or with its names split, or all but its last word and any word that begins like it: `hell` finds
# hello.
SEARCH_QUERY: Final = """(websearch_to_tsquery('english', $1) || websearch_to_tsquery('english', $2)
    || (websearch_to_tsquery('english', $3) && (to_tsquery('english', $4) || to_tsquery('simple', $4))))"""
IS_VISIBLE: Final = "(visibility = 'public' OR owner = $5 OR $6)"

SEARCH_MODELS: Final = f"""
    SELECT * FROM (
        SELECT {MODEL}, ts_rank_cd(search, {SEARCH_QUERY})::float8 AS rank
          FROM models WHERE search @@ {SEARCH_QUERY} AND {IS_VISIBLE}) AS matches
     WHERE true
"""
SEARCH_COLLECTIONS: Final = f"""
    SELECT name, slug, description,
           ARRAY(SELECT owner || '/' || m.name FROM collected c JOIN models m USING (owner, name)
                  WHERE c.slug = f.slug AND {IS_VISIBLE} ORDER BY c.position, owner, m.name) AS models
      FROM (SELECT name, slug, description, setweight(to_tsvector('english', name || ' ' || slug), 'A')
                   || setweight(to_tsvector('english', description), 'B') AS search FROM collections) AS f
     WHERE search @@ {SEARCH_QUERY} ORDER BY ts_rank_cd(search, {SEARCH_QUERY}) DESC, slug LIMIT $7
"""


class Phrase(Struct, frozen=True):
    """The words of a search, as the parts of `SEARCH_QUERY`."""

    whole: str
    separated: str
    """The phrase with names split into their parts."""
    all_but_last: str
    """The phrase without its last word."""
    last_prefix: str
    """A query for words that begin like the last word; empty if that is quoted or excluded."""


class ModelMatch(Struct, frozen=True):
    """A model that matches a search, with its rank; higher fits better."""

    model: Model
    rank: float


class SearchStore:
    """Searches over the models and collections that an account may see."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def find_models(self, text: str, account: Account, cursor: Cursor | None, size: int) -> RowPage[ModelMatch]:
        """Return one page of the models that match and that this account may see, the best first."""
        return await fetch_page(
            self._pool,
            SEARCH_MODELS,
            _query_values(text, account),
            by=("rank", "owner", "name"),
            cursor=cursor,
            size=size,
            from_row=lambda row: ModelMatch(as_model(row), row["rank"]),
            position_type=float,
        )

    async def find_collections(self, text: str, account: Account, limit: int) -> list[dict[str, Any]]:
        """Return the best matching collections, each with the names of its models that this account may see."""
        with translate_errors():
            rows = await self._pool.fetch(SEARCH_COLLECTIONS, *_query_values(text, account), limit)
        return [dict(row) for row in rows]


def parse_phrase(text: str) -> Phrase:
    """Split what somebody typed into the parts of `SEARCH_QUERY`."""
    whole = text.replace("\0", " ")[:MAX_PHRASE_LENGTH].strip()
    apart = NAME_SEPARATOR.sub(" ", whole)
    last = LAST_WORD.search(apart)
    if last is None:
        return Phrase(whole, apart, "", "")
    return Phrase(whole, apart, apart[: last.start()], f"'{last[0]}':*")


def _query_values(text: str, account: Account) -> tuple[str | bool, ...]:
    phrase = parse_phrase(text)
    return (
        phrase.whole,
        phrase.separated,
        phrase.all_but_last,
        phrase.last_prefix,
        account.username,
        "admin" in account.scopes,
    )
