"""References to versions: what needs a version that somebody wants to delete."""

from collections.abc import Sequence

from asyncpg.pool import PoolConnectionProxy as Connection

from gateway.errors import Unprocessable

SELECT_REFERENCE = """
    SELECT r.version AS id, 'deployment ' || d.owner || '/' || d.name AS by
      FROM releases r JOIN deployments d ON d.id = r.deployment
     WHERE r.version = ANY($1) AND r.number IN (d.newest, d.serving)
     UNION ALL
    SELECT base, 'version ' || left(id, 12) || ' of ' || owner || '/' || name || ', which was trained from it'
      FROM versions WHERE base = ANY($1)
     LIMIT 1
"""


async def refuse_if_referenced(connection: Connection, deleted: Sequence[str]) -> None:
    """Refuse the deletion of versions that something needs, by raising `Unprocessable`.

    Call it after the versions are deleted, in the same transaction, which then fails. After, so that it sees what was
    committed while the deletion waited for somebody's lock.
    """
    reference = await connection.fetchrow(SELECT_REFERENCE, list(deleted))
    if reference is not None:
        raise Unprocessable(
            f"Version {reference['id'][:12]} is needed by {reference['by']}. Change or delete that first."
        )
