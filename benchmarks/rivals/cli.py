"""`samovar bench rivals …`, as it is typed."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from time import gmtime, strftime
from typing import Annotated, Final

from cyclopts import App, Parameter
from cyclopts.validators import Number
from msgspec import Struct

from benchmarks.rivals.names import NAMES, RIVALS
from benchmarks.samples import Repeat
from deploy.errors import Unusable

rivals: Final = App(name="rivals", help="Install other servers, and measure them with the same predictors.")

RESULTS: Final = Path(__file__).parents[1] / "results"
LOADS: Final = {"noop": (1, 32), "sleep": (1, 32), "minilm": (1, 64), "tokens": (1, 100), "megabyte": (8,)}
"""As many clients as the suite has for each."""

Predictors = Annotated[tuple[str, ...], Parameter(name="--predictor", negative=())]
Clients = Annotated[tuple[int, ...], Parameter(negative=())]


@rivals.command(name="install")
def install(*names: str) -> None:
    """Install rivals from PyPI, each into an environment of its own. What is there already stays.

    Parameters
    ----------
    names
        litserve, mosec, bentoml, ray, coglet; by default all of them.
    """
    from benchmarks.rivals.installing import install as install_each

    install_each(known(names, NAMES))


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
        noop, sleep, minilm, tokens, megabyte; given again for each, by default all of them.
    clients
        How many ask at once; given again for each load. By default those of the suite.
    seconds
        Of each repeat.
    warm_up
        Seconds of the same load before, which are not counted.
    repeats
        How often it is measured.
    out
        A file for every sample: JSON lines, compressed if it ends in .gz.
    """
    from benchmarks import progress, tables
    from benchmarks.rivals.serving import PREDICTORS
    from benchmarks.samples import write

    chosen = pairs(known(names, NAMES), known(predictor, PREDICTORS))
    with progress.shown() as tell:
        loads = Loads(clients=clients, seconds=seconds, warm_up=warm_up, repeats=repeats)
        measured = [repeat for name, served in chosen for repeat in one(name, served, loads, tell)]
    tables.show(measured)
    path = out or RESULTS / f"rivals-{strftime('%Y%m%dT%H%M%SZ', gmtime())}.jsonl.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, measured)
    print(f"raw numbers: {path}")
    return 0 if all(any(sample.error is None for sample in repeat.samples) for repeat in measured) else 1


class Loads(Struct, frozen=True, kw_only=True):
    clients: tuple[int, ...]
    """None: as the suite has them."""
    seconds: float
    warm_up: float
    repeats: int


def one(name: str, predictor: str, loads: Loads, tell: Callable[[str], None]) -> Iterator[Repeat]:
    """All loads of one predictor, with one start of the rival."""
    from benchmarks.measure import measure
    from benchmarks.rivals.serving import plan, serving

    def say(told: str) -> None:
        tell(f"{RIVALS[name].title}: {told}")

    say(f"starting with {predictor}")
    with serving(name, predictor) as target:
        for clients in loads.clients or LOADS[predictor]:
            asked = plan(
                name,
                predictor,
                target,
                clients=clients,
                seconds=loads.seconds,
                repeats=loads.repeats,
                warm_up=loads.warm_up,
            )
            yield from measure(asked, target, progress=say)


def pairs(names: Iterable[str], predictors: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Predictor by predictor, so that what is compared is measured close together."""
    for predictor in predictors:
        for name in names:
            if predictor not in RIVALS[name].cannot:
                yield name, predictor


def known(given: Sequence[str], there: Sequence[str]) -> Sequence[str]:
    """All of them if none is named. Raises `Unusable`."""
    if strange := [name for name in given if name not in there]:
        raise Unusable(f"{', '.join(strange)}: there is {', '.join(there)}")
    return given or there
