"""How many calls an account, or a token, may make in a minute: exact in total, though every gateway counts alone."""

import asyncio
import math
from collections.abc import Callable
from typing import Final, Protocol

from msgspec import Struct

from gateway.errors import Throttled
from gateway.store.accounts import Account
from gateway.store.rate_limits import Kind, Taken

SHARE: Final = 20  # blocks that an allowance is taken in
KEPT: Final = 10_000


class Allowances(Protocol):
    async def take(self, holder: str, kind: Kind, limit: int, block: int) -> Taken: ...


class Left(Struct, frozen=True):
    """Of the minute, as far as this gateway knows."""

    remaining: int
    resets_in: int

    def headers(self) -> list[tuple[bytes, bytes]]:
        return [
            (b"ratelimit-remaining", str(self.remaining).encode()),
            (b"ratelimit-reset", str(self.resets_in).encode()),
        ]


class Limiter:
    """Takes a block of a minute's allowance from the database, and lets calls through from it.

    What a gateway has taken and does not use is lost with the minute: less than a twentieth.
    """

    def __init__(self, allowances: Allowances, clock: Callable[[], float], creates: int, others: int) -> None:
        """`creates` and `others` are for accounts that have no limits of their own; 0: none."""
        self._allowances = allowances
        self._clock = clock
        self._creates = creates
        self._others = others
        self._leases: dict[tuple[str, Kind, int], Lease] = {}

    async def take(self, account: Account, *, create: bool) -> Left | None:
        """One call; None when nothing limits it. Raises `Throttled`, which asks nobody once the minute is used up."""
        leases = self._of(account, create)
        if not leases:
            return None
        while empty := [lease for lease in leases if not lease.holds(self._clock())]:
            await self._fill(empty[0])
        for lease in leases:  # all or none, with no pause since they were looked at
            lease.held -= 1
        least = min(leases, key=lambda lease: lease.remaining)
        return Left(least.remaining, least.resets_in(self._clock()))

    def _of(self, account: Account, create: bool) -> list["Lease"]:
        kind: Kind = "create" if create else "other"
        mine, default = (
            (account.creates_per_minute, self._creates) if create else (account.others_per_minute, self._others)
        )
        limit = default if mine is None else mine
        own = account.token_creates_per_minute if create else account.token_others_per_minute
        holders = [(f"token:{account.token}", own)] if own else []
        if limit:
            holders.append((f"account:{account.id}", limit))
        return [self._lease(holder, kind, most) for holder, most in holders]

    def _lease(self, holder: str, kind: Kind, limit: int) -> "Lease":
        """A limit that was changed is another lease, so that it counts at once."""
        key = holder, kind, limit
        if key not in self._leases:
            if len(self._leases) >= KEPT:
                self._leases.clear()  # what they held is lost, as if this gateway had been started anew
            self._leases[key] = Lease(holder, kind, limit)
        return self._leases[key]

    async def _fill(self, lease: "Lease") -> None:
        """Raises `Throttled`."""
        lease.check(self._clock())
        async with lease.filling:  # one asks for all who wait
            if lease.holds(self._clock()):
                return
            lease.check(self._clock())
            asked = self._clock()
            taken = await self._allowances.take(lease.holder, lease.kind, lease.limit, max(1, lease.limit // SHARE))
            # From before the question: the lease ends a little before the minute, and never after it.
            lease.until = asked + taken.seconds
            lease.held, lease.free = taken.granted, taken.free
            if not taken.granted:
                raise Throttled(lease.resets_in(self._clock()))


class Lease:
    """What this gateway may still let through of one allowance in this minute."""

    def __init__(self, holder: str, kind: Kind, limit: int) -> None:
        self.holder = holder
        self.kind: Kind = kind
        self.limit = limit
        self.held = 0
        self.free = 0
        """What no gateway had taken, when we last asked."""
        self.until = -math.inf
        self.filling = asyncio.Lock()

    @property
    def remaining(self) -> int:
        return self.held + self.free

    def holds(self, now: float) -> bool:
        return self.held > 0 and now < self.until

    def check(self, now: float) -> None:
        """Raises `Throttled` when it is known that nothing is left."""
        if self.remaining == 0 and now < self.until:
            raise Throttled(self.resets_in(now))

    def resets_in(self, now: float) -> int:
        return max(1, math.ceil(self.until - now))
