"""The whole of what Samovar must show, measured in one run: each row, and the rivals beside it."""

import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import uvloop
from msgspec import Struct, structs

from benchmarks import bare, machine, progress, samples, tables
from benchmarks.figures import median
from benchmarks.floor import floor
from benchmarks.measure import Progress, measure
from benchmarks.plans import INPUTS, MIXED, MODELS, PLAIN, Plain, plan
from benchmarks.rivals import serving
from benchmarks.rivals.installing import installed
from benchmarks.rivals.names import NAMES, RIVALS
from benchmarks.samples import Figure, Repeat
from benchmarks.special.client import Client
from benchmarks.special.creates import async_create
from benchmarks.special.idle import gateway_idle
from benchmarks.special.kept import million_predictions
from benchmarks.special.known import models_known
from benchmarks.special.open import open_streams
from benchmarks.special.start import second_start
from benchmarks.special.terms import Special, Terms
from benchmarks.special.tokens import token_stream
from benchmarks.targets import Target, samovar
from deploy.errors import Unusable

HERE: Final = Path(__file__).parent
RESULTS: Final = HERE / "results"
PAGE: Final = HERE / "RESULTS.md"
MINILM: Final = HERE.parent / "runners" / "models" / "minilm"
CAPACITY: Final = "no-op, 32 clients"
BARE: Final = "bare loop"
FLOOR: Final = "floor"
BATCHES: Final = {"minilm, 64 clients": 32, "minilm, 1 client": 1}
"""Rows that the bare loop is beside, and the size of its batches."""

SPECIAL: Final[dict[str, tuple[Special, float]]] = {
    "token stream": (token_stream, 45),
    "async create": (async_create, 20),
    "gateway idle": (gateway_idle, 45),
    "second start": (second_start, 15),
    "open SSE streams": (open_streams, 35),
    "200 models known": (models_known, 150),
    "1 M predictions": (million_predictions, 150),
}
"""With the seconds that each takes, roughly."""
ORDER: Final = ("noop", "minilm", "tokens", "token stream", "async create", "gateway idle", "second start", "sleep")
"""What is most asked for comes first; the rest follows."""
IMPORTING: Final = 3.0  # seconds, roughly, until a bare loop begins
STARTING: Final = 6.0  # seconds, roughly, of a server and its model

Measured = Repeat | Figure


class Wish(Struct, frozen=True, kw_only=True):
    only: tuple[str, ...] = ()
    rivals: tuple[str, ...] = NAMES
    repeats: int = 5
    seconds: float = 1.5
    quick: bool = False
    out: Path | None = None


class Step(Struct, frozen=True):
    """Rows that are measured together."""

    name: str
    expected: float
    """Seconds, roughly."""
    run: Callable[["Failures"], Iterable[Measured]]


class Failures:
    """What went wrong; the rest goes on."""

    def __init__(self, tell: Progress) -> None:
        self.said: list[str] = []
        self._tell = tell

    def guarded(self, what: str, run: Callable[[], Iterable[Measured]]) -> Iterator[Measured]:
        try:
            yield from run()
        except Exception as error:  # noqa: BLE001  whatever it is, other rows are worth having
            self.said.append(f"{what}: {error or type(error).__name__}")
            self._tell(f"{what} failed:\n{traceback.format_exc()}")


def run(wish: Wish) -> int:
    """Returns the exit status: 1 if a row failed."""
    path = wish.out or RESULTS / f"suite-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.jsonl.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    kept: list[Measured] = []
    with progress.shown() as tell:
        failures = Failures(tell)
        steps = list(chosen(wish, tell))
        samples.write(path, _kept(_measured(steps, failures, tell), kept))  # as it comes: what is measured stays
    tables.show(kept)
    print(f"raw data: {path}")
    if not (wish.only or wish.quick or wish.out):
        from benchmarks.report.results import write_results

        write_results([path], PAGE)
        print(f"results: {PAGE}")
    for said in failures.said:
        print(f"failed: {said}")
    return 1 if failures.said or _wrong(kept) else 0


def chosen(wish: Wish, tell: Progress) -> Iterator[Step]:
    """In the order in which they are measured. Raises `Unusable` if there is no such row."""
    there = [*(row.name for row in PLAIN), *SPECIAL, FLOOR]
    if strange := [name for name in wish.only if not any(_named(each, (name,)) for each in there)]:
        raise Unusable(f"{', '.join(strange)}: no such row; there are {'; '.join(there)}")
    wanted = [name for name in there if _named(name, wish.only)]
    steps = [*_plain_steps(wish, wanted, tell), *_special_steps(wish, wanted)]
    if FLOOR in wanted:
        steps.append(Step(FLOOR, 6 * wish.repeats * wish.seconds, lambda failures: _floor(wish, failures, tell)))
    yield from sorted(steps, key=lambda step: ORDER.index(step.name) if step.name in ORDER else len(ORDER))


def rivals_of(given: Sequence[str], *, quick: bool) -> tuple[str, ...]:
    """Those that are meant. Raises `Unusable` for a name that is none."""
    if not given:
        return () if quick else tuple(filter(installed, NAMES))
    if strange := [name for name in given if name not in (*NAMES, "all", "none")]:
        raise Unusable(f"--rivals {' '.join(strange)}: there are all, none, {', '.join(NAMES)}")
    return NAMES if "all" in given else tuple(name for name in NAMES if name in given)


def _named(row: str, only: Sequence[str]) -> bool:
    return not only or any(name.lower() in row.lower() for name in only)


def _plain_steps(wish: Wish, wanted: Sequence[str], tell: Progress) -> Iterator[Step]:
    for predictor in dict.fromkeys(row.predictor for row in PLAIN):
        rows = [row for row in PLAIN if row.predictor == predictor and row.name in wanted]
        if rows:
            group = Group(predictor, rows, wish, tell)
            yield Step(predictor, group.expected, group.measured)


def _special_steps(wish: Wish, wanted: Sequence[str]) -> Iterator[Step]:
    terms = Terms(repeats=wish.repeats, seconds=wish.seconds, quick=wish.quick)
    for name, (special, seconds) in SPECIAL.items():
        if name in wanted:
            expected = seconds * (0.3 if wish.quick else 1)
            yield Step(name, expected, lambda failures, n=name, s=special: failures.guarded(n, partial(s, terms)))


def _floor(wish: Wish, failures: Failures, tell: Progress) -> Iterator[Measured]:
    """Without minilm, whose bare loop is measured beside it."""
    return failures.guarded(FLOOR, lambda: floor(wish.repeats, wish.seconds, machine.threads(), tell, sizes=()))


def _measured(steps: Sequence[Step], failures: Failures, tell: Progress) -> Iterator[Measured]:
    for number, step in enumerate(steps, 1):
        left = sum(each.expected for each in steps[number - 1 :]) / 60
        tell(f"{step.name}: {number} of {len(steps)}; about {left:.0f} min left")
        yield from step.run(failures)


def _kept(measured: Iterable[Measured], into: list[Measured]) -> Iterator[Measured]:
    for one in measured:
        into.append(one)
        yield one


def _wrong(kept: Sequence[Measured]) -> bool:
    return any(sample.error is not None for one in kept if isinstance(one, Repeat) for sample in one.samples)


class Group:
    """All rows of one predictor: Samovar's first repeats, the rivals one after the other, and Samovar's other repeats.

    So a machine that gets slower or faster meanwhile does not favour one side. Nobody else runs while one is measured.
    """

    def __init__(self, predictor: str, rows: Sequence[Plain], wish: Wish, tell: Progress) -> None:
        self._predictor = predictor
        self._rows = rows
        self._wish = wish
        self._tell = tell
        self._rivals = [
            name for name in wish.rivals if any(row.rivals for row in rows) and predictor not in RIVALS[name].cannot
        ]
        self._capacity = 0.0

    @property
    def expected(self) -> float:
        loops = sum(row.name in BATCHES for row in self._rows) * self._wish.repeats
        ours = 2 * STARTING + sum(self._expected(row) for row in self._rows)
        ours += loops * (IMPORTING + 2 * self._wish.seconds)
        theirs = STARTING + sum(self._expected(row) for row in self._rows if row.rivals)
        return ours + theirs * len(self._rivals)

    def _expected(self, row: Plain) -> float:
        return self._wish.repeats * self._wish.seconds * row.longer + self._warm_up

    @property
    def _warm_up(self) -> float:
        return min(1.0, self._wish.seconds)

    def measured(self, failures: Failures) -> Iterator[Measured]:
        before = (self._wish.repeats + 1) // 2
        yield from failures.guarded(f"{self._predictor}, samovar", partial(self._ours, 0, before))
        for name in self._rivals:
            yield from failures.guarded(f"{self._predictor}, {name}", partial(self._theirs, name))
        if before < self._wish.repeats:
            yield from failures.guarded(
                f"{self._predictor}, samovar", partial(self._ours, before, self._wish.repeats - before)
            )

    def _ours(self, done: int, repeats: int) -> Iterator[Measured]:
        """These many, after those that are done."""
        self._tell(f"{self._predictor}: starting samovar")
        with samovar(models=[MODELS]) as target:
            names = MIXED if self._predictor == "mixed" else (self._predictor,)
            for name in names:
                uvloop.run(Client(target.url, target.token or "").warm(name, INPUTS[name][0]))
            for row in self._rows:
                yield from self._row(row, target, done, repeats)

    def _row(self, row: Plain, target: Target, done: int, repeats: int) -> Iterator[Measured]:
        rate = row.share * self._rate(target) if row.share else 0.0
        asked = plan(row, target, seconds=self._wish.seconds, repeats=repeats, rate=rate)
        asked = structs.replace(asked, warm_up=self._warm_up)
        loop = Loop(row, asked.seconds) if row.name in BATCHES else None
        found = measure(asked, target, progress=self._tell, before=loop.once if loop else None)
        if row.name == CAPACITY and not self._capacity:
            self._capacity = median(found, "requests/s")
        for each in found:
            whole = structs.replace(each.plan, repeats=self._wish.repeats)
            yield structs.replace(each, number=done + each.number, plan=whole)
        if loop is not None:
            yield loop.figure()

    def _rate(self, target: Target) -> float:
        """What as many clients get that wait for their answers."""
        if not self._capacity:
            row = next(each for each in PLAIN if each.name == CAPACITY)
            asked = plan(row, target, seconds=self._wish.seconds, repeats=1)
            self._capacity = median(measure(asked, target, progress=self._tell), "requests/s")
        return self._capacity

    def _theirs(self, name: str) -> Iterator[Measured]:
        self._tell(f"{self._predictor}: starting {RIVALS[name].title}")
        with serving.serving(name, self._predictor) as target:
            for row in self._rows:
                if row.rivals:
                    asked = serving.plan(
                        name,
                        self._predictor,
                        target,
                        clients=row.clients,
                        seconds=self._wish.seconds * row.longer,
                        repeats=self._wish.repeats,
                        warm_up=self._warm_up,
                        title=row.name,
                    )
                    yield from measure(asked, target, progress=self._tell)


class Loop:
    """minilm in a bare loop, once before each repeat of the row that it is compared with."""

    def __init__(self, row: Plain, seconds: float) -> None:
        self._size = BATCHES[row.name]
        self._seconds = seconds
        self._at = datetime.now(UTC).isoformat()
        self._rates: list[float] = []
        self._machine = machine.describe()

    def once(self) -> None:
        [looped] = bare.apart(MINILM, self._size, seconds=self._seconds, threads=machine.threads())
        self._rates.append(looped.rate)

    def figure(self) -> Figure:
        return Figure(
            name=f"{BARE}, minilm",
            target=BARE,
            figure=f"texts/s, batches of {self._size}",
            values=self._rates,
            at=self._at,
            machine=self._machine,
        )
