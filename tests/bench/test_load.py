"""The load generator, in its own process, against a small server in this one."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import contextmanager, suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw, structs

from benchmarks.load.schedule import arrivals
from benchmarks.measure import Unmeasurable, measure
from benchmarks.samples import Plan, Repeat, Request, Sample
from benchmarks.targets import Target

STALL = 0.3  # seconds


def said(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d So\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body)


Say = Callable[["Server", bytes], AsyncIterator[bytes]]
"""To a body: the answer, in pieces. An empty piece ends the connection."""


class Server:
    """Counts what it is asked, and how many ask at once."""

    def __init__(self, say: Say) -> None:
        self.url = ""
        self.asked: list[bytes] = []
        self.heads: list[bytes] = []
        self.connections = 0
        self.most = 0
        self._say = say
        self._now = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while not writer.is_closing():
                await self._answer(await reader.readuntil(b"\r\n\r\n"), reader, writer)
        writer.close()

    async def _answer(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
        body = await reader.readexactly(size)
        self.heads.append(head)
        self.asked.append(body)
        self._now += 1
        self.most = max(self.most, self._now)
        async for piece in self._say(self, body):
            writer.write(piece) if piece else writer.close()
        self._now -= 1


@contextmanager
def serving(say: Say) -> Generator[Server]:
    """In a thread of its own: who measures waits for the load generator."""
    server, started = Server(say), threading.Event()
    ends: list[Callable[[], object]] = []

    async def main() -> None:
        ended, loop = asyncio.Event(), asyncio.get_running_loop()
        ends.append(lambda: loop.call_soon_threadsafe(ended.set))
        listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
        server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        started.set()
        await ended.wait()
        listening.close()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    assert started.wait(10)
    try:
        yield server
    finally:
        ends[0]()
        thread.join()


async def ok(server: Server, body: bytes) -> AsyncIterator[bytes]:
    await asyncio.sleep(0)
    yield said(200, b"ok")


def stalled(after: int) -> Say:
    """One answer is late, and with it all those that are asked meanwhile."""
    gate = asyncio.Lock()

    async def say(server: Server, body: bytes) -> AsyncIterator[bytes]:
        async with gate:
            if len(server.asked) == after:
                await asyncio.sleep(STALL)
        yield said(200, b"ok")

    return say


def plan(server: Server, *, bodies: int = 1, seconds: float = 0.2) -> Plan:
    return Plan(
        name="it",
        target="server",
        url=server.url,
        protocol="plain",
        requests=[Request(path="/predict", body=Raw(b'"%d"' % number)) for number in range(bodies)],
        seconds=seconds,
        warm_up=0,
        repeats=1,
    )


def run(plan: Plan, token: str | None = None) -> Repeat:
    (repeat,) = measure(plan, Target("server", plan.url, token))
    return repeat


def slow(samples: list[Sample]) -> int:
    return sum(sample.latency > STALL * 1e6 / 4 for sample in samples)


def test_clients_that_wait_ask_one_at_a_time_and_in_turns() -> None:
    with serving(ok) as server:
        repeat = run(structs.replace(plan(server, bodies=3), clients=4))
        assert server.connections == 5  # one has looked whether there is somebody
        assert server.most <= 4
        assert len(repeat.samples) == len(server.asked) - 1
        turns = [sum(sample.request == which for sample in repeat.samples) for which in range(3)]
        assert max(turns) - min(turns) <= 1
        assert [sample.at for sample in repeat.samples] == sorted(sample.at for sample in repeat.samples)
        assert repeat.cpu["load generator"] > 0


def test_the_warm_up_is_not_counted() -> None:
    with serving(ok) as server:
        repeat = run(structs.replace(plan(server), warm_up=0.2))
        assert len(repeat.samples) < len(server.asked) - 1
        assert server.connections == 2


def test_the_token_travels_with_each_request_and_not_on_the_command_line() -> None:
    with serving(ok) as server:
        run(plan(server), token="secret")
        assert all(b"authorization: Bearer secret\r\n" in head for head in server.heads)


@pytest.mark.parametrize("kind", ["constant", "poisson"])
def test_arrivals_come_when_they_are_due_whoever_has_been_answered(kind: str) -> None:
    with serving(ok) as server:
        wanted = structs.replace(plan(server), arrivals=kind, rate=200.0, clients=8)
        repeat = run(wanted)
        due = arrivals(wanted.arrivals, 200.0, wanted.seconds, wanted.seed + 1)
        assert [sample.at for sample in repeat.samples] == [round(time * 1e6) for time in due]
        assert all(sample.error is None for sample in repeat.samples)


def test_who_waits_for_answers_sees_one_slow_answer_of_a_server_that_stalls() -> None:
    with serving(stalled(after=20)) as server:
        assert 1 <= slow(run(plan(server, seconds=0.5)).samples) <= 3


def test_arrivals_see_all_that_came_while_it_stalled() -> None:
    """Forty-five come in the first three quarters of the stall; some more if this machine stalls, too."""
    with serving(stalled(after=20)) as server:
        wanted = structs.replace(plan(server, seconds=0.6), arrivals="constant", rate=200.0)
        for connections in (1, 64):
            server.asked.clear()
            samples = run(structs.replace(wanted, clients=connections)).samples
            assert len(samples) == 120
            assert slow(samples) >= 40


def test_what_goes_wrong_is_a_sample() -> None:
    answers = {
        b'"0"': [said(200, b"ok")],
        b'"1"': [said(503, b'{"detail": "full"}')],
        b'"2"': [b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nhalf", b""],
        b'"3"': [said(200, b"no")],
    }

    async def say(server: Server, body: bytes) -> AsyncIterator[bytes]:
        for piece in answers[body]:
            yield piece

    with serving(say) as server:
        samples = run(structs.replace(plan(server, bodies=4), expect="ok", clients=2)).samples
    errors = {which: {sample.error for sample in samples if sample.request == which} for which in range(4)}
    assert errors == {
        0: {None},
        1: {"status 503: full"},
        2: {"the server closed the connection"},
        3: {"another answer than expected"},
    }


def test_a_connection_that_the_server_ends_is_opened_anew() -> None:
    async def say(server: Server, body: bytes) -> AsyncIterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
        yield b""

    with serving(say) as server:
        samples = run(plan(server)).samples
        assert {sample.error for sample in samples} == {None}
        assert server.connections == len(samples) + 1


def test_pieces_of_an_answer_are_events() -> None:
    async def say(server: Server, body: bytes) -> AsyncIterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        for _ in range(3):
            yield b"4\r\nwhat\r\n"
        yield b"1c\r\ndata: four\r\n\r\ndata: five\r\n\r\n\r\n0\r\n\r\n"

    with serving(say) as server:
        samples = run(structs.replace(plan(server), protocol="plain-stream")).samples
    assert {len(sample.gaps) for sample in samples} == {4}
    assert all(sample.first is not None and sample.first <= sample.latency for sample in samples)


def test_what_is_wrong_from_the_start_is_told_once() -> None:
    async def say(server: Server, body: bytes) -> AsyncIterator[bytes]:
        yield said(422, b'{"detail": "text: missing"}')

    with serving(say) as server, pytest.raises(Unmeasurable, match="it: /predict: status 422: text: missing"):
        run(structs.replace(plan(server), clients=8))
    assert len(server.asked) == 1


def test_nobody_there_is_told() -> None:
    with serving(ok) as server:
        pass
    with pytest.raises(Unmeasurable, match=f"cannot reach {server.url}: Connection refused"):
        run(plan(server))


def test_no_address_is_told() -> None:
    with serving(ok) as server, pytest.raises(Unmeasurable, match="an address begins with http://"):
        run(structs.replace(plan(server), url="localhost:8000"))


def test_progress_and_results_are_told() -> None:
    told: list[str] = []
    with serving(ok) as server:
        wanted = structs.replace(plan(server), repeats=2)
        assert [repeat.number for repeat in measure(wanted, Target("server", server.url), progress=told.append)] == [
            1,
            2,
        ]
    assert told[:2] == ["it: asking once", "it: warm-up"]
    assert told[-1].startswith("it: repeat 2 of 2: ")


RATES = st.floats(1, 2000)
SECONDS = st.floats(0.01, 2)


@given(RATES, SECONDS, st.integers(0, 1000))
def test_chance_has_the_rate_that_was_asked_for(rate: float, seconds: float, seed: int) -> None:
    """Six standard deviations off would be a miss in a billion; a few arrivals are no normal distribution."""
    times = arrivals("poisson", rate, seconds, seed)
    assert times == sorted(times)
    assert all(0 < time < seconds for time in times)
    assert abs(len(times) - rate * seconds) <= 6 * (rate * seconds) ** 0.5 + 6
    assert times == arrivals("poisson", rate, seconds, seed)


@given(RATES, SECONDS)
def test_what_is_constant_has_one_distance(rate: float, seconds: float) -> None:
    times = arrivals("constant", rate, seconds, 1)
    assert times[0] == 0
    assert abs(len(times) - rate * seconds) <= 1
    assert all(abs(later - one - 1 / rate) < 1e-9 for one, later in pairwise(times))


def test_chance_leaves_gaps_as_it_does() -> None:
    """Of exponential gaps e^-1 are longer than the mean, and their standard deviation is the mean."""
    times = arrivals("poisson", 1000, 20, 1)
    gaps = [later - one for one, later in pairwise(times)]
    mean = sum(gaps) / len(gaps)
    assert sum(gap > mean for gap in gaps) / len(gaps) == pytest.approx(0.368, abs=0.02)
    assert (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5 == pytest.approx(mean, rel=0.05)
