"""`samovar bench rivals …`: the commands, their options and their help."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from time import gmtime, strftime
from typing import Annotated, Final

from cyclopts import App, Parameter
from cyclopts.validators import Number
from msgspec import Struct

from benchmarks.rivals.registry import NAMES, RIVALS
from benchmarks.samples import Repeat
from deploy.errors import UsageError

rivals: Final = App(name="rivals", help="Install other servers, and measure them with the same predictors.")

RESULTS: Final = Path(__file__).parents[1] / "results"
DEFAULT_CLIENTS: Final = {"noop": (1, 32), "sleep": (1, 32), "minilm": (1, 64), "tokens": (1, 100), "megabyte": (8,)}
"""The numbers of clients in the suite, by predictor."""

Predictors = Annotated[tuple[str, ...], Parameter(name="--predictor", negative=())]
Clients = Annotated[tuple[int, ...], Parameter(negative=())]


@rivals.command(name="install")
def install(*names: str) -> None:
    """Install rivals from PyPI, each into an environment of its own. Installed ones stay.

    Parameters
    ----------
    names
        litserve, mosec, bentoml, ray, coglet; by default all of them.
    """
    from benchmarks.rivals.installation import install as install_each

    install_each(select_names(names, NAMES))


@rivals.command(name="run")
def run(
    *names: str,
    predictor: Predictors = (),
    clients: Clients = (),
    seconds: Annotated[float, Parameter(validator=Number(gt=0))] = 5.0,
    warm_up: Annotated[float, Parameter(validator=Number(gte=0))] = 1.0,
    repeats: Annotated[int, Parameter(validator=Number(gte=1))] = 5,
    out: Path | None = None,
) -> int:
    """Measure rivals that are installed, one after the other, and show how fast they answer.

    Parameters
    ----------
    names
        litserve, mosec, bentoml, ray, coglet; by default all of them.
    predictor
        noop, sleep, minilm, tokens, megabyte; repeat it for each; by default all of them.
    clients
        How many clients at once; repeat it for each load. By default those of the suite.
    seconds
        Seconds of each repeat.
    warm_up
        Seconds of the same load before, which are not counted.
    repeats
        How often to measure.
    out
        A file for every sample: JSON lines, compressed if it ends in .gz.
    """
    from benchmarks import progress, tables
    from benchmarks.rivals.server_process import PREDICTORS
    from benchmarks.samples import write_measurements

    runs = order_runs(select_names(names, NAMES), select_names(predictor, PREDICTORS))
    with progress.show_progress() as report:
        loads = Loads(clients=clients, seconds=seconds, warm_up=warm_up, repeats=repeats)
        measured = [
            repeat for name, predictor_name in runs for repeat in measure_predictor(name, predictor_name, loads, report)
        ]
    tables.print_tables(measured)
    path = out or RESULTS / f"rivals-{strftime('%Y%m%dT%H%M%SZ', gmtime())}.jsonl.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_measurements(path, measured)
    print(f"raw numbers: {path}")
    return 0 if all(any(sample.error is None for sample in repeat.samples) for repeat in measured) else 1


class Loads(Struct, frozen=True, kw_only=True):
    """The loads of a run."""

    clients: tuple[int, ...]
    """Numbers of clients; if empty, those of the suite."""
    seconds: float
    warm_up: float
    repeats: int


def measure_predictor(name: str, predictor: str, loads: Loads, report: Callable[[str], None]) -> Iterator[Repeat]:
    """Measure all loads of one predictor, with one start of the rival."""
    from benchmarks.measure import measure
    from benchmarks.rivals.server_process import create_plan, run_rival

    def report_with_title(line: str) -> None:
        report(f"{RIVALS[name].title}: {line}")

    report_with_title(f"starting with {predictor}")
    with run_rival(name, predictor) as target:
        for clients in loads.clients or DEFAULT_CLIENTS[predictor]:
            plan = create_plan(
                name,
                predictor,
                target,
                clients=clients,
                seconds=loads.seconds,
                repeats=loads.repeats,
                warm_up=loads.warm_up,
            )
            yield from measure(plan, target, progress=report_with_title)


def order_runs(names: Iterable[str], predictors: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield rivals and predictors, predictor by predictor, so that what is compared is measured close together."""
    for predictor in predictors:
        for name in names:
            if predictor not in RIVALS[name].unsupported:
                yield name, predictor


def select_names(names: Sequence[str], known: Sequence[str]) -> Sequence[str]:
    """Return the names, or all of them if none is given.

    Raises `UsageError` for an unknown name.
    """
    if unknown := [name for name in names if name not in known]:
        raise UsageError(f"{', '.join(unknown)}: choose from {', '.join(known)}")
    return names or known
