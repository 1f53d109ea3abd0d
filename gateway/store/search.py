"""Models and collections by the words in them, ranked by PostgreSQL."""

import re
from typing import Any, Final

import asyncpg
from msgspec import Struct

from gateway.store.accounts import Account
from gateway.store.connection import reached
from gateway.store.models import MODEL, Model, as_model
from gateway.store.pages import Cursor, Listed, listed

LONGEST: Final = 500
"""Characters of a phrase that count: a word of more than 2 kB would be refused."""
JOINT: Final = re.compile(r"(?<=\w)[-_./]+(?=\w)")
"""What holds the parts of a name together; in the index, each is a word of its own."""
LAST: Final = re.compile(r"(?:^|(?<=\s))[^\W_]+$")

# The phrase as it is, its names taken apart, or all but its last word and what begins like that: `hell` finds hello.
WORDS: Final = """(websearch_to_tsquery('english', $1) || websearch_to_tsquery('english', $2)
    || (websearch_to_tsquery('english', $3) && (to_tsquery('english', $4) || to_tsquery('simple', $4))))"""
SEEN: Final = "(visibility = 'public' OR owner = $5 OR $6)"

MODELS: Final = f"""
    SELECT * FROM (
        SELECT {MODEL}, ts_rank_cd(search, {WORDS})::float8 AS rank
          FROM models WHERE search @@ {WORDS} AND {SEEN}) AS found
     WHERE true
"""
COLLECTIONS: Final = f"""
    SELECT name, slug, description,
           ARRAY(SELECT owner || '/' || m.name FROM collected c JOIN models m USING (owner, name)
                  WHERE c.slug = f.slug AND {SEEN} ORDER BY c.position, owner, m.name) AS models
      FROM (SELECT name, slug, description, setweight(to_tsvector('english', name || ' ' || slug), 'A')
                   || setweight(to_tsvector('english', description), 'B') AS search FROM collections) AS f
     WHERE search @@ {WORDS} ORDER BY ts_rank_cd(search, {WORDS}) DESC, slug LIMIT $7
"""


class Phrase(Struct, frozen=True):
    """Words that somebody looks for."""

    whole: str
    apart: str
    """The same, with names in their parts."""
    before: str
    """All but the last word."""
    last: str
    """The last word, as the beginning of one; empty where it is quoted or left out."""


class Found(Struct, frozen=True):
    model: Model
    rank: float


class Search:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def models(self, text: str, account: Account, cursor: Cursor | None, size: int) -> Listed[Found]:
        """Those that this account may see, the best first."""
        return await listed(
            self._pool,
            MODELS,
            _args(text, account),
            by=("rank", "owner", "name"),
            cursor=cursor,
            size=size,
            read=lambda row: Found(as_model(row), row["rank"]),
            first=float,
        )

    async def collections(self, text: str, account: Account, most: int) -> list[dict[str, Any]]:
        """With the names of those of their models that this account may see."""
        with reached():
            rows = await self._pool.fetch(COLLECTIONS, *_args(text, account), most)
        return [dict(row) for row in rows]


def phrase(text: str) -> Phrase:
    whole = text.replace("\0", " ")[:LONGEST].strip()
    apart = JOINT.sub(" ", whole)
    last = LAST.search(apart)
    if last is None:
        return Phrase(whole, apart, "", "")
    return Phrase(whole, apart, apart[: last.start()], f"'{last[0]}':*")


def _args(text: str, account: Account) -> tuple[str | bool, ...]:
    words = phrase(text)
    return words.whole, words.apart, words.before, words.last, account.username, "admin" in account.scopes
