"""`samovar bench …`: the commands, their options and their help."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, Literal

from cyclopts import App, Parameter
from cyclopts.validators import Number

from deploy.cli.commands.options import CONNECTION, Inputs, Token
from deploy.errors import UsageError

bench: Final = App(name="bench", help="Measure a server: Samovar, or another one.")

EXTRA_MODULES: Final = frozenset({"hdrh", "matplotlib", "numpy"})
"""Modules that only the extra `bench` installs."""

PositiveInt = Annotated[int | None, Parameter(validator=Number(gte=1))]
PositiveFloat = Annotated[float, Parameter(validator=Number(gt=0))]


@bench.command(name="run")
def run(
    *models: str,
    input: Inputs = (),
    inputs: Path | None = None,
    protocol: Literal["sync", "async", "stream", "cancel", "plain", "plain-stream"] = "sync",
    clients: PositiveInt = None,
    rate: Annotated[float | None, Parameter(validator=Number(gt=0))] = None,
    arrivals: Literal["closed", "constant", "poisson"] | None = None,
    seconds: PositiveFloat = 5.0,
    warm_up: Annotated[float, Parameter(validator=Number(gte=0))] = 1.0,
    repeats: Annotated[int, Parameter(validator=Number(gte=1))] = 5,
    seed: int = 1,
    expect: str | None = None,
    cold: Annotated[bool, Parameter(negative=())] = False,
    folders: Annotated[tuple[Path, ...], Parameter(name="--models", consume_multiple=True, negative=())] = (),
    name: str | None = None,
    out: Path | None = None,
    html: Path | None = None,
    url: Annotated[str | None, Parameter(name="--url", group=CONNECTION)] = None,
    token: Token = None,
) -> int:
    """Load a model, and show how fast it answers. Requests to several models take turns.

    The command starts a stack of its own, unless --url names a running server.

    Parameters
    ----------
    models
        owner/name, or owner/name:version.
    input
        name=value, or name=@file; repeat it for each input.
    inputs
        A file of inputs to send in turns: a JSON object, or one a line. A line of the form
        {"model": …, "input": …} is for that model.
    protocol
        How a client gets its answer: it waits for it (sync), creates and follows the stream (async, stream), cancels
        what it created (cancel), or posts the input itself to another kind of server (plain, plain-stream).
    clients
        How many clients at once, by default one; with --rate the most connections, by default 256.
    rate
        Requests per second, sent whether earlier ones have been answered or not.
    arrivals
        closed: each client sends its next request after an answer. constant, poisson: at --rate, evenly or at random.
    seconds
        Seconds of each repeat.
    warm_up
        Seconds of the same load before, which are not counted.
    repeats
        How often to measure; the spread between repeats is shown.
    seed
        The seed of random arrivals.
    expect
        A text that each answer must contain; others are wrong.
    cold
        Send each request while no worker has a model loaded: one per client and repeat.
    folders
        Cog folders, or folders of them, for the stack that the command starts.
    name
        The name of the measurement.
    out
        A file for every sample: JSON lines, compressed if it ends in .gz. `samovar bench compare` and `report` read it.
    html
        A file for a report with plots.
    url
        The URL of a server, which gets all this load.
    """
    with require_extra():
        from benchmarks import run as runs
        from benchmarks.run import RunOptions

        return runs.run(
            RunOptions(
                models=models,
                pairs=input,
                inputs=inputs,
                folders=folders,
                url=url,
                token=token,
                protocol=protocol,
                clients=clients,
                rate=rate,
                arrivals=arrivals,
                seconds=seconds,
                warm_up=warm_up,
                repeats=repeats,
                seed=seed,
                expect=expect,
                cold=cold,
                name=name,
                out=out,
                html=html,
            )
        )


@bench.command(name="compare")
def compare(
    a: Path,
    b: Path,
    *,
    fail_if_slower: Annotated[float | None, Parameter(validator=Number(gt=0))] = None,
) -> int:
    """Compare two files: ratios of their medians, with confidence intervals from the spread of their repeats.

    Parameters
    ----------
    a
        A file that --out wrote, before a change.
    b
        Another one, after it.
    fail_if_slower
        Exit with status 1 if anything is surely slower by more than this factor.
    """
    with require_extra(), readable_errors():
        from benchmarks.report import compare as comparison

        return comparison.compare(a, b, fail_if_slower)


@bench.command(name="report")
def report(*files: Path, out: Path = Path("report")) -> None:
    """Plot measurements: one HTML page, and each of its plots as a PNG.

    Parameters
    ----------
    files
        Files that --out wrote.
    out
        The folder for the report; it is created.
    """
    with require_extra(), readable_errors():
        from benchmarks.report.html import write_html
        from benchmarks.report.plots import write_plots
        from benchmarks.samples import read_measurements

        measured = [one for file in files for one in read_measurements(file)]
        if not measured:
            raise UsageError("Name files with measurements: samovar bench report FILE.jsonl.gz")
        plots = write_plots(measured, out)
        write_html(measured, out / "report.html")
    print(f"{out / 'report.html'}, and {len(plots)} plots beside it")


@bench.command(name="suite")
def suite(
    *,
    only: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative=())] = (),
    rivals: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative=())] = (),
    repeats: PositiveInt = None,
    seconds: Annotated[float | None, Parameter(validator=Number(gt=0))] = None,
    quick: Annotated[bool, Parameter(negative=())] = False,
    out: Path | None = None,
) -> int:
    """Measure all rows that Samovar is judged by, with the rivals beside it, and write benchmarks/RESULTS.md.

    Exits with status 1 if a row failed or an answer was wrong; the other rows are measured all the same.

    Parameters
    ----------
    only
        Rows whose names contain one of these texts; RESULTS.md stays as it is.
    rivals
        all, none, or names: litserve, mosec, bentoml, ray, coglet. By default all that are installed; --quick: none.
    repeats
        Repeats of each row, by default 5; with --quick one.
    seconds
        Seconds of each repeat, by default 1.5, and twice that for minilm; with --quick half a second.
    quick
        Only check that every row works; RESULTS.md stays as it is.
    out
        A file for the raw data other than benchmarks/results/suite-<time>.jsonl.gz; RESULTS.md stays as it is.
    """
    with require_extra():
        from benchmarks import suite as suites

        options = suites.SuiteOptions(
            only=only,
            rivals=suites.select_rivals(rivals, quick=quick),
            repeats=repeats or (1 if quick else 5),
            seconds=seconds or (0.5 if quick else 1.5),
            quick=quick,
            out=out,
        )
        return suites.run(options)


@bench.command(name="flame")
def flame(
    *,
    kind: Literal["gateway", "agent", "worker"] = "gateway",
    seconds: Annotated[int, Parameter(validator=Number(gte=1))] = 10,
    clients: Annotated[int, Parameter(validator=Number(gte=1))] = 32,
    row: str = "no-op, 32 clients",
    pid: int | None = None,
    format: Literal["flamegraph", "speedscope"] = "flamegraph",
    out: Path = Path("flame.svg"),
) -> None:
    """Start a stack, load it, and draw where one of its processes spends its time.

    Parameters
    ----------
    kind
        Which of the stack's processes to record.
    seconds
        How long to record.
    clients
        How many clients load it meanwhile.
    row
        Their load: a row of the suite that is a plain load.
    pid
        A running process, which others load; no stack is started.
    format
        flamegraph, for a browser; speedscope, for https://www.speedscope.app.
    out
        The file to write.
    """
    with require_extra():
        from benchmarks.flame import write_flame_graph

        write_flame_graph(kind=kind, seconds=seconds, clients=clients, row=row, pid=pid, format=format, out=out)


@bench.command(name="gpu")
def gpu(
    *,
    models: tuple[Literal["minilm", "transformer"], ...] = ("minilm", "transformer"),
    sizes: tuple[int, ...] = (1, 8, 32, 64, 128, 256),
    repeats: Annotated[int, Parameter(validator=Number(gte=1))] = 5,
    seconds: float = 5.0,
    gateways: Annotated[int, Parameter(validator=Number(gte=1, lte=8))] = 1,
    anyway: Annotated[bool, Parameter(negative=())] = False,
    out: Path = Path("gpu.jsonl.gz"),
) -> None:
    """Measure how batches scale on a GPU, in a bare loop and behind the gateway, and how busy the GPU is.

    Parameters
    ----------
    models
        minilm, and a transformer with 24 layers of 1,024 and random weights.
    sizes
        Sizes of batches in the bare loop, and numbers of clients behind the gateway.
    repeats
        Repeats of each.
    seconds
        Seconds of each repeat.
    gateways
        Gateway processes that share the port; each uses one core at most.
    anyway
        Run on the CPU if there is no GPU, to see that it works; TRANSFORMER_LAYERS=1 makes it quick.
    out
        A file for every sample.
    """
    with require_extra():
        from benchmarks import progress
        from benchmarks.gpu.scaling import ScalingOptions, measure_scaling

        options = ScalingOptions(
            models=models,
            sizes=sizes,
            repeats=repeats,
            seconds=seconds,
            gateways=gateways,
            out=out,
            allow_cpu=anyway,
        )
        with progress.show_progress() as tell:
            measure_scaling(options, tell)


@bench.command(name="guard")
def guard(*, update: Annotated[bool, Parameter(negative=())] = False) -> None:
    """Count the instructions of what Samovar does for a prediction, and compare them with the stored budget.

    Parameters
    ----------
    update
        Store the current counts as the budget.
    """
    with require_extra():
        from benchmarks import guard as guards

        guards.guard(update=update)


@bench.command(name="results")
def results(*files: Path, out: Path = Path("RESULTS.md")) -> None:
    """Write the table of aims, and everything else that was measured, as Markdown.

    Parameters
    ----------
    files
        Files of measurements; what is in several of them is taken from the last.
    out
        The file to write.
    """
    if not files:
        raise UsageError("Name at least one file of measurements, such as benchmarks/results/suite-<time>.jsonl.gz.")
    with require_extra(), readable_errors():
        from benchmarks.report.results import write_results

        write_results(files, out)
        print(out)


bench.command("benchmarks.rivals.cli:rivals", name="rivals", help="Install other servers and measure them, too.")


@contextmanager
def readable_errors() -> Generator[None]:
    """Turn an unreadable file of measurements into an error of one line."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror or error}") from None
    except ValueError as error:
        raise UsageError(str(error)) from None


@contextmanager
def require_extra() -> Generator[None]:
    """Turn a missing package of the extra `bench` into an error that says how to install it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in EXTRA_MODULES:
            raise
        raise UsageError(f"{error.name} is not installed. Benchmarks need it: pip install 'samovar[bench]'") from None
