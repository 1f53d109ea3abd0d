"""Limits of calls in a minute: what is counted, and that all gateways together count it once."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import asyncpg
import httpx
import pytest
from msgspec import structs

from gateway.auth.rate_limits import RateLimiter
from gateway.errors import Throttled
from gateway.settings import Settings
from gateway.store.accounts import Account
from gateway.store.rate_limits import CallKind, GrantedBlock, RateLimitStore
from tests.gateway.conftest import TOKEN, FakeRunner

ME = Account(id=1, type="user", username="me", name="Me", token="t1")
PATH = "/v1/models/acme/echo/predictions"


class FakeAllowances:
    """The allowances as the database counts them, in a minute that is over when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.queries = 0
        self._taken: dict[tuple[str, CallKind, int], int] = {}

    def clock(self) -> float:
        return self.now

    async def take_block(self, holder: str, kind: CallKind, limit: int, block: int) -> GrantedBlock:
        self.queries += 1
        await asyncio.sleep(0)
        key = holder, kind, int(self.now // 60)
        before = self._taken.get(key, 0)
        granted = min(block, limit - before)
        self._taken[key] = before + granted
        return GrantedBlock(granted, limit - before - granted, 60 - self.now % 60)


async def count_successes(take: Callable[[], Any], calls: int) -> int:
    answers = await asyncio.gather(*(take() for _ in range(calls)), return_exceptions=True)
    assert all(
        answer is None or not isinstance(answer, BaseException) or type(answer) is Throttled for answer in answers
    )
    return sum(not isinstance(answer, Throttled) for answer in answers)


@pytest.mark.parametrize("limit", [1, 7, 20, 45, 600])
async def test_gateways_together_let_through_exactly_the_limit(limit: int) -> None:
    allowances = FakeAllowances()
    limiters = [RateLimiter(allowances, allowances.clock, limit, 0) for _ in range(3)]
    passed = [await count_successes(lambda one=one: one.take(ME, create=True), limit) for one in limiters * 2]
    assert sum(passed) == limit
    allowances.now += 60
    assert await count_successes(lambda: limiters[0].take(ME, create=True), 2 * limit) == limit


async def test_the_database_is_queried_per_block_and_never_once_the_minute_is_used_up() -> None:
    allowances = FakeAllowances()
    limiter = RateLimiter(allowances, allowances.clock, 100, 0)
    assert await count_successes(lambda: limiter.take(ME, create=True), 1000) == 100
    assert allowances.queries == 20
    with pytest.raises(Throttled, match="resets in ~20s"):
        await limiter.take(ME, create=True)
    assert allowances.queries == 20


async def test_the_two_kinds_of_calls_are_counted_apart() -> None:
    allowances = FakeAllowances()
    limiter = RateLimiter(allowances, allowances.clock, 2, 5)
    assert await count_successes(lambda: limiter.take(ME, create=True), 9) == 2
    assert await count_successes(lambda: limiter.take(ME, create=False), 9) == 5


async def test_a_token_has_its_own_limit_within_that_of_its_account() -> None:
    allowances = FakeAllowances()
    limiter = RateLimiter(allowances, allowances.clock, 10, 0)
    narrow = structs.replace(ME, token="t2", token_creates_per_minute=3)
    assert await count_successes(lambda: limiter.take(narrow, create=True), 9) == 3
    assert await count_successes(lambda: limiter.take(ME, create=True), 20) == 7
    allowances.now += 60
    assert await count_successes(lambda: limiter.take(ME, create=True), 9) == 9
    assert await count_successes(lambda: limiter.take(narrow, create=True), 9) == 1, (
        "what the account lacks, the token has not used"
    )
    assert (await limiter.take(structs.replace(narrow, id=2), create=True)) is not None


@pytest.mark.parametrize(("given", "passed"), [(None, 4), (0, 50), (9, 9)])
async def test_an_account_may_have_another_limit_than_the_settings_say_or_none(given: int | None, passed: int) -> None:
    allowances = FakeAllowances()
    limiter = RateLimiter(allowances, allowances.clock, 4, 0)
    account = structs.replace(ME, creates_per_minute=given)
    assert await count_successes(lambda: limiter.take(account, create=True), 50) == passed


async def test_a_limit_that_was_raised_counts_at_once() -> None:
    allowances = FakeAllowances()
    limiter = RateLimiter(allowances, allowances.clock, 4, 0)
    assert await count_successes(lambda: limiter.take(ME, create=True), 9) == 4
    raised = structs.replace(ME, creates_per_minute=6)
    assert await count_successes(lambda: limiter.take(raised, create=True), 9) == 2


@pytest.fixture
async def pool(database_url: str) -> AsyncGenerator[asyncpg.Pool]:
    async with asyncpg.create_pool(database_url, min_size=1, max_size=8) as pool:
        yield pool


async def minute(pool: asyncpg.Pool) -> datetime:
    return await pool.fetchval("SELECT date_trunc('minute', clock_timestamp())")


async def within_a_minute(pool: asyncpg.Pool, attempt: Callable[[int], Any]) -> Any:
    """What came of an attempt that no turn of the minute fell into; each is told its number."""
    for number in range(5):
        began = await minute(pool)
        result = await attempt(number)
        if await minute(pool) == began:
            return result
    raise AssertionError("every attempt took more than a minute")


async def test_blocks_taken_at_the_same_time_add_up_to_the_allowance(pool: asyncpg.Pool) -> None:
    allowances = RateLimitStore(pool)

    async def attempt(number: int) -> list[GrantedBlock]:
        takes = [allowances.take_block(f"account:{number}", "create", 100, 7) for _ in range(40)]
        return await asyncio.gather(*takes)

    taken = await within_a_minute(pool, attempt)
    assert sorted(each.granted for each in taken) == [0] * 25 + [2] + [7] * 14
    assert {each.remaining for each in taken} == {*range(2, 94, 7), 0}
    assert all(0 <= each.resets_in <= 60 for each in taken)


@pytest.mark.parametrize("ago", ["1 minute", "-1 hour"])
async def test_a_new_minute_starts_a_new_allowance(pool: asyncpg.Pool, ago: str) -> None:
    allowances = RateLimitStore(pool)
    await allowances.take_block("account:1", "create", 5, 5)
    await pool.execute(f"UPDATE allowances SET minute = minute - interval '{ago}'")
    assert (await allowances.take_block("account:1", "create", 5, 2)).granted == 2


async def test_a_statement_of_the_minute_before_takes_from_the_newer_one(pool: asyncpg.Pool) -> None:
    allowances = RateLimitStore(pool)
    await allowances.take_block("account:1", "create", 5, 3)
    await pool.execute("UPDATE allowances SET minute = minute + interval '1 minute'")
    taken = await allowances.take_block("account:1", "create", 5, 3)
    assert (taken.granted, taken.remaining) == (2, 0)
    assert 0 < taken.resets_in <= 120


@asynccontextmanager
async def two_clients(start: Callable[..., Any], settings: Settings) -> AsyncGenerator[list[httpx.AsyncClient]]:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    urls = [await start(settings), await start(settings)]
    async with (
        httpx.AsyncClient(base_url=urls[0], headers=headers, trust_env=False) as first,
        httpx.AsyncClient(base_url=urls[1], headers=headers, trust_env=False) as second,
    ):
        yield [first, second]


async def test_two_gateways_create_exactly_as_many_predictions_as_the_limit_says(
    start: Callable[..., Any], settings: Settings, runner: FakeRunner, pool: asyncpg.Pool
) -> None:
    limit = 45  # its blocks are of two, and the last one is cut short

    async def attempt(number: int) -> list[httpx.Response]:
        limited = structs.replace(
            settings, creates_per_minute=limit, account=f"number-{number}", token=f"token-{number}"
        )
        async with two_clients(start, limited) as clients:
            for client in clients:
                client.headers["Authorization"] = f"Bearer token-{number}"
                while (await client.get("/v1/models/acme/keeper")).status_code != 200:
                    await runner.announce()
            calls = [client.post(PATH, json={"input": {"text": "hi"}}) for client in clients * limit]
            return list(await asyncio.gather(*calls))

    answers = await within_a_minute(pool, attempt)
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(201), statuses.count(429)) == (limit, limit)
    refused = next(answer for answer in answers if answer.status_code == 429)
    wait = refused.json()["retry_after"]
    assert refused.json() == {
        "detail": f"Request was throttled. Your rate limit resets in ~{wait}s.",
        "status": 429,
        "retry_after": wait,
    }
    assert refused.headers["content-type"] == "application/problem+json"
    told = [refused.headers[name] for name in ("retry-after", "ratelimit-remaining", "ratelimit-reset")]
    assert told == [str(wait), "0", str(wait)]
    assert 1 <= wait <= 60


async def test_every_response_shows_what_remains(
    start: Callable[..., Any], settings: Settings, runner: FakeRunner, pool: asyncpg.Pool
) -> None:
    url = await start(structs.replace(settings, others_per_minute=60))

    async def attempt(number: int) -> list[httpx.Response]:
        await pool.execute("TRUNCATE allowances")
        async with httpx.AsyncClient(
            base_url=url, headers={"Authorization": f"Token {TOKEN}"}, trust_env=False
        ) as client:
            asked = [("GET", "/v1/account"), ("GET", "/v1/predictions/none"), ("HEAD", "/v1/models"), ("POST", PATH)]
            answers = [await client.request(*each) for each in asked]
            async with client.stream("GET", "/v1/runners/events") as stream:
                return [*answers, stream]

    answers = await within_a_minute(pool, attempt)
    assert [answer.status_code for answer in answers] == [200, 404, 200, 400, 200]
    left = [answer.headers.get("ratelimit-remaining") for answer in answers]
    assert [int(each) - int(left[0]) for each in left if each] == [0, -1, -2, -3]
    assert left[3] is None, "a create, which nothing limits here"
    assert all(1 <= int(answer.headers["ratelimit-reset"]) <= 60 for answer in answers if answer is not answers[3])


async def test_without_limits_responses_have_no_headers_for_them(client: httpx.AsyncClient, pool: asyncpg.Pool) -> None:
    answer = await client.get("/v1/account", headers={"Origin": "https://a.example"})
    assert not any(name.startswith("ratelimit") for name in answer.headers)
    assert "ratelimit-remaining" in answer.headers["access-control-expose-headers"]
    assert await pool.fetchval("SELECT count(*) FROM allowances") == 0


async def test_a_call_without_a_valid_token_uses_up_nothing(
    start: Callable[..., Any], settings: Settings, pool: asyncpg.Pool
):
    url = await start(structs.replace(settings, others_per_minute=1))
    async with httpx.AsyncClient(base_url=url, trust_env=False) as stranger:
        answers = [await stranger.get("/v1/account", headers={"Authorization": "Bearer none"}) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [401] * 3
        assert (await stranger.get("/v1/account", headers={"Authorization": f"Bearer {TOKEN}"})).status_code == 200
