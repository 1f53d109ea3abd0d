"""What a version is needed for, so that it is not deleted under somebody's feet."""

from collections.abc import Sequence

from asyncpg.pool import PoolConnectionProxy as Connection

from gateway.errors import Unprocessable

NEEDED = """
    SELECT r.version AS id, 'deployment ' || d.owner || '/' || d.name AS by
      FROM releases r JOIN deployments d ON d.id = r.deployment
     WHERE r.version = ANY($1) AND r.number IN (d.newest, d.serving)
     UNION ALL
    SELECT base, 'version ' || left(id, 12) || ' of ' || owner || '/' || name || ', which was trained from it'
      FROM versions WHERE base = ANY($1)
     LIMIT 1
"""


async def refuse_needed(on: Connection, deleted: Sequence[str]) -> None:
    """Called after the versions are deleted, in the same transaction, which then fails.

    After, so that it sees what was committed while the deletion waited for somebody's lock. Raises `Unprocessable`.
    """
    needed = await on.fetchrow(NEEDED, list(deleted))
    if needed is not None:
        raise Unprocessable(f"Version {needed['id'][:12]} is needed by {needed['by']}. Change or delete that first.")
