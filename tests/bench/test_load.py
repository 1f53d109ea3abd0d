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
from benchmarks.measure import MeasurementFailed, measure
from benchmarks.samples import Plan, Repeat, Request, Sample
from benchmarks.targets import Target

STALL = 0.3  # seconds


def http_answer(status: int, body: bytes) -> bytes:
    """Return an answer as bytes."""
    return b"HTTP/1.1 %d So\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body)


AnswerFunction = Callable[["Server", bytes], AsyncIterator[bytes]]
"""Yields the answer to a body in pieces; an empty piece ends the connection."""


class Server:
    """A server that counts requests, and how many of them are under way at once."""

    def __init__(self, answer: AnswerFunction) -> None:
        self.url = ""
        self.bodies: list[bytes] = []
        self.heads: list[bytes] = []
        self.connections = 0
        self.max_concurrent = 0
        self._answer_pieces = answer
        self._concurrent = 0

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
        self.bodies.append(body)
        self._concurrent += 1
        self.max_concurrent = max(self.max_concurrent, self._concurrent)
        async for piece in self._answer_pieces(self, body):
            writer.write(piece) if piece else writer.close()
        self._concurrent -= 1


@contextmanager
def running_server(answer: AnswerFunction) -> Generator[Server]:
    """Run a server in a thread of its own, as this one waits for the load generator."""
    server, started = Server(answer), threading.Event()
    ends: list[Callable[[], object]] = []

    async def main() -> None:
        ended, loop = asyncio.Event(), asyncio.get_running_loop()
        ends.append(lambda: loop.call_soon_threadsafe(ended.set))
        listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
        server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        started.set()
        await ended.wait()
        listener.close()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    assert started.wait(10)
    try:
        yield server
    finally:
        ends[0]()
        thread.join()


async def answer_ok(server: Server, body: bytes) -> AsyncIterator[bytes]:
    """Answer at once."""
    await asyncio.sleep(0)
    yield http_answer(200, b"ok")


def stall_after(after: int) -> AnswerFunction:
    """Return an answer function that delays one answer, and all those that are requested meanwhile."""
    gate = asyncio.Lock()

    async def answer(server: Server, body: bytes) -> AsyncIterator[bytes]:
        async with gate:
            if len(server.bodies) == after:
                await asyncio.sleep(STALL)
        yield http_answer(200, b"ok")

    return answer


def create_plan(server: Server, *, bodies: int = 1, seconds: float = 0.2) -> Plan:
    """Return a plan for the server."""
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


def measure_once(plan: Plan, token: str | None = None) -> Repeat:
    """Return the one repeat of a plan."""
    (repeat,) = measure(plan, Target("server", plan.url, token))
    return repeat


def count_slow(samples: list[Sample]) -> int:
    """Return how many samples a stall delayed."""
    return sum(sample.latency > STALL * 1e6 / 4 for sample in samples)


def test_closed_loop_clients_send_one_request_at_a_time_in_turns() -> None:
    with running_server(answer_ok) as server:
        repeat = measure_once(structs.replace(create_plan(server, bodies=3), clients=4))
        assert server.connections == 5  # one has looked whether there is somebody
        assert server.max_concurrent <= 4
        assert len(repeat.samples) == len(server.bodies) - 1
        turns = [sum(sample.request == which for sample in repeat.samples) for which in range(3)]
        assert max(turns) - min(turns) <= 1
        assert [sample.at for sample in repeat.samples] == sorted(sample.at for sample in repeat.samples)
        assert repeat.cpu["load generator"] > 0


def test_the_warm_up_is_not_counted() -> None:
    with running_server(answer_ok) as server:
        repeat = measure_once(structs.replace(create_plan(server), warm_up=0.2))
        assert len(repeat.samples) < len(server.bodies) - 1
        assert server.connections == 2


def test_the_token_travels_with_each_request_and_not_on_the_command_line() -> None:
    with running_server(answer_ok) as server:
        measure_once(create_plan(server), token="secret")
        assert all(b"authorization: Bearer secret\r\n" in head for head in server.heads)


@pytest.mark.parametrize("kind", ["constant", "poisson"])
def test_an_open_loop_sends_requests_when_they_are_due(kind: str) -> None:
    with running_server(answer_ok) as server:
        plan = structs.replace(create_plan(server), arrivals=kind, rate=200.0, clients=8)
        repeat = measure_once(plan)
        due = arrivals(plan.arrivals, 200.0, plan.seconds, plan.seed + 1)
        assert [sample.at for sample in repeat.samples] == [round(time * 1e6) for time in due]
        assert all(sample.error is None for sample in repeat.samples)


def test_a_closed_loop_sees_one_slow_answer_of_a_stalled_server() -> None:
    with running_server(stall_after(after=20)) as server:
        assert 1 <= count_slow(measure_once(create_plan(server, seconds=0.5)).samples) <= 3


def test_an_open_loop_sees_every_answer_that_a_stall_delayed() -> None:
    """Forty-five come in the first three quarters of the stall; some more if this machine stalls, too."""
    with running_server(stall_after(after=20)) as server:
        due = structs.replace(create_plan(server, seconds=0.6), arrivals="constant", rate=200.0)
        for connections in (1, 64):
            server.bodies.clear()
            samples = measure_once(structs.replace(due, clients=connections)).samples
            assert len(samples) == 120
            assert count_slow(samples) >= 40


def test_a_wrong_answer_is_a_sample_with_its_error() -> None:
    answers = {
        b'"0"': [http_answer(200, b"ok")],
        b'"1"': [http_answer(503, b'{"detail": "full"}')],
        b'"2"': [b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nhalf", b""],
        b'"3"': [http_answer(200, b"no")],
    }

    async def answer(server: Server, body: bytes) -> AsyncIterator[bytes]:
        for piece in answers[body]:
            yield piece

    with running_server(answer) as server:
        samples = measure_once(structs.replace(create_plan(server, bodies=4), expect="ok", clients=2)).samples
    errors = {which: {sample.error for sample in samples if sample.request == which} for which in range(4)}
    assert errors == {
        0: {None},
        1: {"status 503: full"},
        2: {"the server closed the connection"},
        3: {"another answer than expected"},
    }


def test_a_connection_that_the_server_closed_is_opened_again() -> None:
    async def answer(server: Server, body: bytes) -> AsyncIterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
        yield b""

    with running_server(answer) as server:
        samples = measure_once(create_plan(server)).samples
        assert {sample.error for sample in samples} == {None}
        assert server.connections == len(samples) + 1


def test_pieces_of_an_answer_are_events() -> None:
    async def answer(server: Server, body: bytes) -> AsyncIterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        for _ in range(3):
            yield b"4\r\nwhat\r\n"
        yield b"1c\r\ndata: four\r\n\r\ndata: five\r\n\r\n\r\n0\r\n\r\n"

    with running_server(answer) as server:
        samples = measure_once(structs.replace(create_plan(server), protocol="plain-stream")).samples
    assert {len(sample.gaps) for sample in samples} == {4}
    assert all(sample.first is not None and sample.first <= sample.latency for sample in samples)


def test_an_error_of_every_request_is_reported_once() -> None:
    async def answer(server: Server, body: bytes) -> AsyncIterator[bytes]:
        yield http_answer(422, b'{"detail": "text: missing"}')

    with (
        running_server(answer) as server,
        pytest.raises(MeasurementFailed, match="it: /predict: status 422: text: missing"),
    ):
        measure_once(structs.replace(create_plan(server), clients=8))
    assert len(server.bodies) == 1


def test_an_unreachable_server_is_reported() -> None:
    with running_server(answer_ok) as server:
        pass
    with pytest.raises(MeasurementFailed, match=f"cannot reach {server.url}: Connection refused"):
        measure_once(create_plan(server))


def test_an_invalid_address_is_reported() -> None:
    with (
        running_server(answer_ok) as server,
        pytest.raises(MeasurementFailed, match="use an address that begins with http://"),
    ):
        measure_once(structs.replace(create_plan(server), url="localhost:8000"))


def test_progress_and_results_are_reported() -> None:
    lines: list[str] = []
    with running_server(answer_ok) as server:
        due = structs.replace(create_plan(server), repeats=2)
        assert [repeat.number for repeat in measure(due, Target("server", server.url), progress=lines.append)] == [
            1,
            2,
        ]
    assert lines[:2] == ["it: sending each request once", "it: warm-up"]
    assert lines[-1].startswith("it: repeat 2 of 2: ")


RATES = st.floats(1, 2000)
SECONDS = st.floats(0.01, 2)


@given(RATES, SECONDS, st.integers(0, 1000))
def test_poisson_arrivals_have_the_requested_rate(rate: float, seconds: float, seed: int) -> None:
    """Six standard deviations off would be a miss in a billion; a few arrivals are no normal distribution."""
    times = arrivals("poisson", rate, seconds, seed)
    assert times == sorted(times)
    assert all(0 < time < seconds for time in times)
    assert abs(len(times) - rate * seconds) <= 6 * (rate * seconds) ** 0.5 + 6
    assert times == arrivals("poisson", rate, seconds, seed)


@given(RATES, SECONDS)
def test_constant_arrivals_are_evenly_spaced(rate: float, seconds: float) -> None:
    times = arrivals("constant", rate, seconds, 1)
    assert times[0] == 0
    assert abs(len(times) - rate * seconds) <= 1
    assert all(abs(later - one - 1 / rate) < 1e-9 for one, later in pairwise(times))


def test_poisson_gaps_are_exponential() -> None:
    """Of exponential gaps e^-1 are longer than the mean, and their standard deviation is the mean."""
    times = arrivals("poisson", 1000, 20, 1)
    gaps = [later - one for one, later in pairwise(times)]
    mean = sum(gaps) / len(gaps)
    assert sum(gap > mean for gap in gaps) / len(gaps) == pytest.approx(0.368, abs=0.02)
    assert (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5 == pytest.approx(mean, rel=0.05)
