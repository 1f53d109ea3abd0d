"""The whole suite: measures each row that Samovar is judged by, with the rivals beside it."""

import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import uvloop
from msgspec import Struct, structs

from benchmarks import bare_loop, machine, progress, samples, tables
from benchmarks.figures import median_figure
from benchmarks.floor import measure_floor
from benchmarks.measure import Progress, measure
from benchmarks.plans import INPUTS, MIXED_PREDICTORS, MODELS, PLAIN_ROWS, PlainRow, create_plan
from benchmarks.rivals import server_process
from benchmarks.rivals.installation import is_installed
from benchmarks.rivals.registry import NAMES, RIVALS
from benchmarks.samples import Figure, Repeat
from benchmarks.special.async_create import async_create
from benchmarks.special.client import Client
from benchmarks.special.gateway_idle import gateway_idle
from benchmarks.special.known_models import models_known
from benchmarks.special.million_predictions import million_predictions
from benchmarks.special.open_streams import open_streams
from benchmarks.special.options import RowOptions, SpecialRow
from benchmarks.special.second_start import second_start
from benchmarks.special.token_stream import token_stream
from benchmarks.targets import Target, start_samovar
from deploy.errors import UsageError

HERE: Final = Path(__file__).parent
RESULTS: Final = HERE / "results"
PAGE: Final = HERE / "RESULTS.md"
MINILM: Final = HERE.parent / "runners" / "models" / "minilm"
CAPACITY: Final = "no-op, 32 clients"
BARE: Final = "bare loop"
FLOOR: Final = "floor"
BATCH_SIZES: Final = {"minilm, 64 clients": 32, "minilm, 1 client": 1}
"""Rows that are compared with a bare loop, and the size of its batches."""

SPECIAL_ROWS: Final[dict[str, tuple[SpecialRow, float]]] = {
    "token stream": (token_stream, 45),
    "async create": (async_create, 20),
    "gateway idle": (gateway_idle, 45),
    "second start": (second_start, 15),
    "open SSE streams": (open_streams, 35),
    "200 models known": (models_known, 150),
    "1 M predictions": (million_predictions, 150),
}
"""The rows that are not plain loads, and the seconds that each takes, roughly."""
ORDER: Final = ("noop", "minilm", "tokens", "token stream", "async create", "gateway idle", "second start", "sleep")
"""The order of the steps; the rest follows."""
IMPORT_SECONDS: Final = 3.0  # seconds, roughly, until a bare loop begins
START_SECONDS: Final = 6.0  # seconds, roughly, of a server and its model

Result = Repeat | Figure


class SuiteOptions(Struct, frozen=True, kw_only=True):
    """The options of the command."""

    only: tuple[str, ...] = ()
    rivals: tuple[str, ...] = NAMES
    repeats: int = 5
    seconds: float = 1.5
    quick: bool = False
    out: Path | None = None


class Step(Struct, frozen=True):
    """Rows that are measured together."""

    name: str
    expected_seconds: float
    """Seconds, roughly."""
    run: Callable[["FailureLog"], Iterable[Result]]


class FailureLog:
    """The errors of rows that failed; the other rows are measured all the same."""

    def __init__(self, report: Progress) -> None:
        self.messages: list[str] = []
        self._report = report

    def run_guarded(self, what: str, run: Callable[[], Iterable[Result]]) -> Iterator[Result]:
        """Yield what `run` yields; if it fails, note why."""
        try:
            yield from run()
        except Exception as error:  # noqa: BLE001  whatever it is, the other rows are worth measuring
            self.messages.append(f"{what}: {error or type(error).__name__}")
            self._report(f"{what} failed:\n{traceback.format_exc()}")


def run(options: SuiteOptions) -> int:
    """Measure the suite, and return the exit status: 1 if a row failed or an answer was wrong."""
    path = options.out or RESULTS / f"suite-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.jsonl.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    results: list[Result] = []
    with progress.show_progress() as report:
        failures = FailureLog(report)
        steps = list(select_steps(options, report))
        samples.write_measurements(
            path, _collect(_run_steps(steps, failures, report), results)
        )  # at once, so that a crash loses nothing that was measured
    tables.print_tables(results)
    print(f"raw data: {path}")
    if not (options.only or options.quick or options.out):
        from benchmarks.report.results import write_results

        write_results([path], PAGE)
        print(f"results: {PAGE}")
    for message in failures.messages:
        print(f"failed: {message}")
    return 1 if failures.messages or _has_errors(results) else 0


def select_steps(options: SuiteOptions, report: Progress) -> Iterator[Step]:
    """Yield the selected steps, in the order in which they are measured.

    Raises `UsageError` for a name that no row has.
    """
    names = [*(row.name for row in PLAIN_ROWS), *SPECIAL_ROWS, FLOOR]
    if unknown := [name for name in options.only if not any(_matches(each, (name,)) for each in names)]:
        raise UsageError(f"{', '.join(unknown)}: unknown row; the rows are {'; '.join(names)}")
    selected = [name for name in names if _matches(name, options.only)]
    steps = [*_plain_steps(options, selected, report), *_special_steps(options, selected)]
    if FLOOR in selected:
        steps.append(
            Step(
                FLOOR, 6 * options.repeats * options.seconds, lambda failures: _measure_floor(options, failures, report)
            )
        )
    yield from sorted(steps, key=lambda step: ORDER.index(step.name) if step.name in ORDER else len(ORDER))


def select_rivals(names: Sequence[str], *, quick: bool) -> tuple[str, ...]:
    """Return the rivals with these names.

    Raises `UsageError` for an unknown name.
    """
    if not names:
        return () if quick else tuple(filter(is_installed, NAMES))
    if unknown := [name for name in names if name not in (*NAMES, "all", "none")]:
        raise UsageError(f"--rivals {' '.join(unknown)}: choose from all, none, {', '.join(NAMES)}")
    return NAMES if "all" in names else tuple(name for name in NAMES if name in names)


def _matches(row: str, only: Sequence[str]) -> bool:
    return not only or any(name.lower() in row.lower() for name in only)


def _plain_steps(options: SuiteOptions, selected: Sequence[str], report: Progress) -> Iterator[Step]:
    for predictor in dict.fromkeys(row.predictor for row in PLAIN_ROWS):
        rows = [row for row in PLAIN_ROWS if row.predictor == predictor and row.name in selected]
        if rows:
            group = RowGroup(predictor, rows, options, report)
            yield Step(predictor, group.expected_seconds, group.measure)


def _special_steps(options: SuiteOptions, selected: Sequence[str]) -> Iterator[Step]:
    row_options = RowOptions(repeats=options.repeats, seconds=options.seconds, quick=options.quick)
    for name, (special, seconds) in SPECIAL_ROWS.items():
        if name in selected:
            expected_seconds = seconds * (0.3 if options.quick else 1)
            yield Step(
                name,
                expected_seconds,
                lambda failures, n=name, s=special: failures.run_guarded(n, partial(s, row_options)),
            )


def _measure_floor(options: SuiteOptions, failures: FailureLog, report: Progress) -> Iterator[Result]:
    """Measure the floor without minilm, whose bare loop is measured beside its rows."""
    return failures.run_guarded(
        FLOOR, lambda: measure_floor(options.repeats, options.seconds, machine.model_threads(), report, sizes=())
    )


def _run_steps(steps: Sequence[Step], failures: FailureLog, report: Progress) -> Iterator[Result]:
    for number, step in enumerate(steps, 1):
        minutes = sum(each.expected_seconds for each in steps[number - 1 :]) / 60
        report(f"{step.name}: {number} of {len(steps)}; about {minutes:.0f} min left")
        yield from step.run(failures)


def _collect(results: Iterable[Result], into: list[Result]) -> Iterator[Result]:
    for result in results:
        into.append(result)
        yield result


def _has_errors(results: Sequence[Result]) -> bool:
    return any(
        sample.error is not None for result in results if isinstance(result, Repeat) for sample in result.samples
    )


class RowGroup:
    """All rows of one predictor: half of Samovar's repeats, the rivals one after the other, and Samovar's other half.

    So a machine that gets slower or faster meanwhile does not favor one side. Nobody else runs while one is measured.
    """

    def __init__(self, predictor: str, rows: Sequence[PlainRow], options: SuiteOptions, report: Progress) -> None:
        self._predictor = predictor
        self._rows = rows
        self._options = options
        self._report = report
        self._rivals = [
            name
            for name in options.rivals
            if any(row.has_rivals for row in rows) and predictor not in RIVALS[name].unsupported
        ]
        self._capacity = 0.0

    @property
    def expected_seconds(self) -> float:
        """Roughly how long the group takes."""
        loops = sum(row.name in BATCH_SIZES for row in self._rows) * self._options.repeats
        ours = 2 * START_SECONDS + sum(self._expected_seconds(row) for row in self._rows)
        ours += loops * (IMPORT_SECONDS + 2 * self._options.seconds)
        theirs = START_SECONDS + sum(self._expected_seconds(row) for row in self._rows if row.has_rivals)
        return ours + theirs * len(self._rivals)

    def _expected_seconds(self, row: PlainRow) -> float:
        return self._options.repeats * self._options.seconds * row.duration_factor + self._warm_up

    @property
    def _warm_up(self) -> float:
        return min(1.0, self._options.seconds)

    def measure(self, failures: FailureLog) -> Iterator[Result]:
        """Measure the rows."""
        before = (self._options.repeats + 1) // 2
        yield from failures.run_guarded(f"{self._predictor}, samovar", partial(self._ours, 0, before))
        for name in self._rivals:
            yield from failures.run_guarded(f"{self._predictor}, {name}", partial(self._theirs, name))
        if before < self._options.repeats:
            yield from failures.run_guarded(
                f"{self._predictor}, samovar", partial(self._ours, before, self._options.repeats - before)
            )

    def _ours(self, done: int, repeats: int) -> Iterator[Result]:
        """Measure so many repeats of Samovar, after `done` earlier ones."""
        self._report(f"{self._predictor}: starting samovar")
        with start_samovar(models=[MODELS]) as target:
            names = MIXED_PREDICTORS if self._predictor == "mixed" else (self._predictor,)
            for name in names:
                uvloop.run(Client(target.url, target.token or "").warm(name, INPUTS[name][0]))
            for row in self._rows:
                yield from self._row(row, target, done, repeats)

    def _row(self, row: PlainRow, target: Target, done: int, repeats: int) -> Iterator[Result]:
        rate = row.share * self._rate(target) if row.share else 0.0
        plan = create_plan(row, target, seconds=self._options.seconds, repeats=repeats, rate=rate)
        plan = structs.replace(plan, warm_up=self._warm_up)
        loop = BareLoop(row, plan.seconds) if row.name in BATCH_SIZES else None
        measured = measure(plan, target, progress=self._report, before=loop.run if loop else None)
        if row.name == CAPACITY and not self._capacity:
            self._capacity = median_figure(measured, "requests/s")
        for each in measured:
            whole = structs.replace(each.plan, repeats=self._options.repeats)
            yield structs.replace(each, number=done + each.number, plan=whole)
        if loop is not None:
            yield loop.figure()

    def _rate(self, target: Target) -> float:
        """Return the rate that as many clients get in a closed loop."""
        if not self._capacity:
            row = next(each for each in PLAIN_ROWS if each.name == CAPACITY)
            plan = create_plan(row, target, seconds=self._options.seconds, repeats=1)
            self._capacity = median_figure(measure(plan, target, progress=self._report), "requests/s")
        return self._capacity

    def _theirs(self, name: str) -> Iterator[Result]:
        self._report(f"{self._predictor}: starting {RIVALS[name].title}")
        with server_process.run_rival(name, self._predictor) as target:
            for row in self._rows:
                if row.has_rivals:
                    plan = server_process.create_plan(
                        name,
                        self._predictor,
                        target,
                        clients=row.clients,
                        seconds=self._options.seconds * row.duration_factor,
                        repeats=self._options.repeats,
                        warm_up=self._warm_up,
                        title=row.name,
                    )
                    yield from measure(plan, target, progress=self._report)


class BareLoop:
    """The bare loop of minilm, run once before each repeat of the row that it is compared with."""

    def __init__(self, row: PlainRow, seconds: float) -> None:
        self._size = BATCH_SIZES[row.name]
        self._seconds = seconds
        self._at = datetime.now(UTC).isoformat()
        self._rates: list[float] = []
        self._machine = machine.describe_machine()

    def run(self) -> None:
        """Run the loop once."""
        [result] = bare_loop.run_in_process(MINILM, self._size, seconds=self._seconds, threads=machine.model_threads())
        self._rates.append(result.rate)

    def figure(self) -> Figure:
        """Return the rates of all runs."""
        return Figure(
            name=f"{BARE}, minilm",
            target=BARE,
            figure=f"texts/s, batches of {self._size}",
            values=self._rates,
            at=self._at,
            machine=self._machine,
        )
