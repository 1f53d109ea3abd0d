"""`samovar bench …`, as it is typed."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, Literal

from cyclopts import App, Parameter
from cyclopts.validators import Number

from deploy.cli.commands.options import CONNECTION, Inputs, Token
from deploy.errors import Unusable

bench: Final = App(name="bench", help="Measure a server: Samovar, or another one.")

EXTRA: Final = frozenset({"hdrh", "matplotlib", "numpy"})
"""Modules of the extra `bench`."""

Whole = Annotated[int | None, Parameter(validator=Number(gte=1))]
Positive = Annotated[float, Parameter(validator=Number(gt=0))]


@bench.command(name="run")
def run(
    *models: str,
    input: Inputs = (),
    inputs: Path | None = None,
    protocol: Literal["sync", "async", "stream", "cancel", "plain", "plain-stream"] = "sync",
    clients: Whole = None,
    rate: Annotated[float | None, Parameter(validator=Number(gt=0))] = None,
    arrivals: Literal["closed", "constant", "poisson"] | None = None,
    seconds: Positive = 5.0,
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
    """Load a model, and show how fast it answers. Several models are asked in turns.

    A stack of its own is started, unless --url names a server that runs.

    Parameters
    ----------
    models
        owner/name, or owner/name:version.
    input
        name=value, or name=@file; given again for each input.
    inputs
        A file of inputs that are sent in turns: a JSON object, or one a line. A line of the form
        {"model": …, "input": …} is for that model.
    protocol
        How a client gets its answer: it waits for it (sync), creates and follows the stream (async, stream), cancels
        what it created (cancel), or posts the input itself to a server that is no Samovar (plain, plain-stream).
    clients
        How many ask at once, by default one; with --rate how many connections there are at most, by default 256.
    rate
        Requests per second, sent whether those before have been answered or not.
    arrivals
        closed: each client asks again once it is answered. constant, poisson: at --rate, evenly or by chance.
    seconds
        Of each repeat.
    warm_up
        Seconds of the same load before, which are not counted.
    repeats
        How often it is measured; the spread between them is shown.
    seed
        Of the arrivals that come by chance.
    expect
        Text that each answer has to have in it, or it is wrong.
    cold
        Start each request when no worker has a model loaded: one per client and repeat.
    folders
        Cog folders, or folders of them, for the stack that is started.
    name
        What the measurement is called.
    out
        A file for every sample: JSON lines, compressed if it ends in .gz. `samovar bench compare` and `report` read it.
    html
        A file for a report with plots.
    url
        Of the server. It gets all this load.
    """
    with extra():
        from benchmarks.run import Wish
        from benchmarks.run import run as run_wish

        return run_wish(
            Wish(
                models=models,
                given=input,
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
    """How B differs from A: ratios of their medians, with confidence intervals from the spread of their repeats.

    Parameters
    ----------
    a
        A file that --out wrote: before.
    b
        Another one: after.
    fail_if_slower
        End with status 1 if anything is surely slower by more than this many times.
    """
    with extra(), readable():
        from benchmarks.report.compare import compare as show

        return show(a, b, fail_if_slower)


@bench.command(name="report")
def report(*files: Path, out: Path = Path("report")) -> None:
    """Draw what was measured: one HTML page, and each of its plots as a PNG.

    Parameters
    ----------
    files
        Those that --out wrote.
    out
        The folder for them; it is made.
    """
    with extra(), readable():
        from benchmarks.report.html import write_html
        from benchmarks.report.plots import write_plots
        from benchmarks.samples import read

        measured = [one for file in files for one in read(file)]
        if not measured:
            raise Unusable("name files with measurements: samovar bench report FILE.jsonl.gz")
        plots = write_plots(measured, out)
        write_html(measured, out / "report.html")
    print(f"{out / 'report.html'}, and {len(plots)} plots beside it")


@bench.command(name="suite")
def suite(
    *,
    only: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative=())] = (),
    rivals: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative=())] = (),
    repeats: Whole = None,
    seconds: Annotated[float | None, Parameter(validator=Number(gt=0))] = None,
    quick: Annotated[bool, Parameter(negative=())] = False,
    out: Path | None = None,
) -> int:
    """Measure all that Samovar must show, with the rivals beside it, and write benchmarks/RESULTS.md.

    Ends with status 1 if a row failed or an answer was wrong; the other rows are measured all the same.

    Parameters
    ----------
    only
        Rows whose names hold one of these texts; RESULTS.md stays as it is.
    rivals
        all, none, or names: litserve, mosec, bentoml, ray, coglet. By default all that are installed; --quick: none.
    repeats
        Of each row, by default 5; with --quick one.
    seconds
        Of each repeat, by default 1.5, and twice that for minilm; with --quick half a second.
    quick
        Only see that every row works; RESULTS.md stays as it is.
    out
        Another file for the raw data than benchmarks/results/suite-<time>.jsonl.gz; RESULTS.md stays as it is.
    """
    with extra():
        from benchmarks import suite as all_rows

        wish = all_rows.Wish(
            only=only,
            rivals=all_rows.rivals_of(rivals, quick=quick),
            repeats=repeats or (1 if quick else 5),
            seconds=seconds or (0.5 if quick else 1.5),
            quick=quick,
            out=out,
        )
        return all_rows.run(wish)


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
        Which of the stack's processes.
    seconds
        For how long.
    clients
        That ask meanwhile.
    row
        What they ask: a row of the suite that is a plain load.
    pid
        A process that runs already, and is loaded by others; no stack is started.
    format
        flamegraph, for a browser; speedscope, for https://www.speedscope.app.
    out
        The file to write.
    """
    with extra():
        from benchmarks.flame import flame as draw

        draw(kind=kind, seconds=seconds, clients=clients, row=row, pid=pid, format=format, out=out)


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
    """Measure how batches scale on a GPU, in a bare loop and behind everything, and how busy the GPU is.

    Parameters
    ----------
    models
        minilm, and a transformer with 24 layers of 1,024 and random weights.
    sizes
        Of batches in the bare loop; as many clients ask behind the gateway.
    repeats
        Of each.
    seconds
        Of each repeat.
    gateways
        Processes that share the port; each has a core to itself at most.
    anyway
        Run on the CPU where there is no GPU, to see that it works; TRANSFORMER_LAYERS=1 makes it quick.
    out
        A file for every sample.
    """
    with extra():
        from benchmarks import progress
        from benchmarks.gpu.scaling import Wish, scaling

        wish = Wish(
            models=models,
            sizes=sizes,
            repeats=repeats,
            seconds=seconds,
            gateways=gateways,
            out=out,
            anyway=anyway,
        )
        with progress.shown() as tell:
            scaling(wish, tell)


@bench.command(name="guard")
def guard(*, update: Annotated[bool, Parameter(negative=())] = False) -> None:
    """Count the instructions of what is done for a prediction, and compare them with those that are kept.

    Parameters
    ----------
    update
        Keep the counts of now.
    """
    with extra():
        from benchmarks.guard import guard as count

        count(update=update)


@bench.command(name="results")
def results(*files: Path, out: Path = Path("RESULTS.md")) -> None:
    """Write the table of what must be shown, and all else that was measured, as Markdown.

    Parameters
    ----------
    files
        Of measurements; what is in several of them is taken from the last.
    out
        The file to write.
    """
    if not files:
        raise Unusable("Name at least one file of measurements, such as benchmarks/results/suite-<time>.jsonl.gz.")
    with extra(), readable():
        from benchmarks.report.results import write_results

        write_results(files, out)
        print(out)


bench.command("benchmarks.rivals.cli:rivals", name="rivals", help="Install other servers, and measure them, too.")


@contextmanager
def readable() -> Generator[None]:
    """What is no file of measurements is told in one line."""
    try:
        yield
    except OSError as error:
        raise Unusable(f"{error.filename}: {error.strerror or error}") from None
    except ValueError as error:
        raise Unusable(str(error)) from None


@contextmanager
def extra() -> Generator[None]:
    """The packages of the extra `bench` are installed by those who want them."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in EXTRA:
            raise
        raise Unusable(f"{error.name} is not installed; benchmarks need pip install 'samovar[bench]'") from None
