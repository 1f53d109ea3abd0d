"""Rate limits per account and token: exact in total, though every gateway counts by itself."""

import asyncio
import math
from collections.abc import Callable
from typing import Final, Protocol

from msgspec import Struct

from gateway.errors import Throttled
from gateway.store.accounts import Account
from gateway.store.rate_limits import CallKind, GrantedBlock

BLOCKS_PER_MINUTE: Final = 20  # an allowance is taken in so many blocks
MAX_BLOCKS: Final = 10_000


class BlockSource(Protocol):
    """The database's allowances, from which a gateway takes blocks of calls."""

    async def take_block(self, holder: str, kind: CallKind, limit: int, block: int) -> GrantedBlock: ...


class RateLimitStatus(Struct, frozen=True):
    """The rest of the minute's allowance, as far as this gateway knows."""

    remaining: int
    resets_in: int

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return the status as response headers."""
        return [
            (b"ratelimit-remaining", str(self.remaining).encode()),
            (b"ratelimit-reset", str(self.resets_in).encode()),
        ]


class RateLimiter:
    """Takes blocks of a minute's allowance from the database, and lets calls through from them.

    What a gateway has taken and does not use is lost with the minute: less than a twentieth.
    """

    def __init__(self, source: BlockSource, clock: Callable[[], float], creates: int, others: int) -> None:
        """Limit accounts without limits of their own to so many `creates` and `others` a minute; 0: no limit."""
        self._source = source
        self._clock = clock
        self._creates = creates
        self._others = others
        self._blocks: dict[tuple[str, CallKind, int], AllowanceBlock] = {}

    async def take(self, account: Account, *, create: bool) -> RateLimitStatus | None:
        """Count one call, and return what remains, or None if nothing limits it.

        Raises `Throttled`, without a query once the minute is known to be used up.
        """
        blocks = self._blocks_for(account, create)
        if not blocks:
            return None
        while empty := [block for block in blocks if not block.has_calls(self._clock())]:
            await self._refill(empty[0])
        for block in blocks:  # all or none: nothing else ran since they were checked
            block.available -= 1
        least = min(blocks, key=lambda block: block.remaining)
        return RateLimitStatus(least.remaining, least.resets_in(self._clock()))

    def _blocks_for(self, account: Account, create: bool) -> list["AllowanceBlock"]:
        kind: CallKind = "create" if create else "other"
        own_limit, default = (
            (account.creates_per_minute, self._creates) if create else (account.others_per_minute, self._others)
        )
        limit = default if own_limit is None else own_limit
        token_limit = account.token_creates_per_minute if create else account.token_others_per_minute
        holders = [(f"token:{account.token}", token_limit)] if token_limit else []
        if limit:
            holders.append((f"account:{account.id}", limit))
        return [self._block(holder, kind, max_calls) for holder, max_calls in holders]

    def _block(self, holder: str, kind: CallKind, limit: int) -> "AllowanceBlock":
        """Return the block of a limit. A limit that was changed has another block, so that it counts at once."""
        key = holder, kind, limit
        if key not in self._blocks:
            if len(self._blocks) >= MAX_BLOCKS:
                self._blocks.clear()  # the calls in them are lost, as if this gateway had restarted
            self._blocks[key] = AllowanceBlock(holder, kind, limit)
        return self._blocks[key]

    async def _refill(self, block: "AllowanceBlock") -> None:
        """Take a new block from the database. Raises `Throttled` if nothing remains."""
        block.refuse_if_exhausted(self._clock())
        async with block.refill_lock:  # one query serves all who wait
            if block.has_calls(self._clock()):
                return
            block.refuse_if_exhausted(self._clock())
            asked_at = self._clock()
            grant = await self._source.take_block(
                block.holder, block.kind, block.limit, max(1, block.limit // BLOCKS_PER_MINUTE)
            )
            # From before the question: the lease ends a little before the minute, and never after it.
            block.ends_at = asked_at + grant.resets_in
            block.available, block.unclaimed = grant.granted, grant.remaining
            if not grant.granted:
                raise Throttled(block.resets_in(self._clock()))


class AllowanceBlock:
    """The calls that this gateway may still let through of one allowance in this minute."""

    def __init__(self, holder: str, kind: CallKind, limit: int) -> None:
        self.holder = holder
        self.kind: CallKind = kind
        self.limit = limit
        self.available = 0
        self.unclaimed = 0
        """Calls that no gateway had taken when this block was taken."""
        self.ends_at = -math.inf
        self.refill_lock = asyncio.Lock()

    @property
    def remaining(self) -> int:
        """Calls that remain of the allowance, here and unclaimed."""
        return self.available + self.unclaimed

    def has_calls(self, now: float) -> bool:
        """Return whether a call can be let through now."""
        return self.available > 0 and now < self.ends_at

    def refuse_if_exhausted(self, now: float) -> None:
        """Raise `Throttled` if it is known that nothing remains."""
        if self.remaining == 0 and now < self.ends_at:
            raise Throttled(self.resets_in(now))

    def resets_in(self, now: float) -> int:
        """Return the whole seconds until the minute is over, at least 1."""
        return max(1, math.ceil(self.ends_at - now))
