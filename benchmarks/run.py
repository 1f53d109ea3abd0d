"""`samovar bench run`: any model with any input, measured and shown."""

import os
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct
from rich.console import Console

from benchmarks import inputs, processes, progress, samples, tables, targets
from benchmarks.inputs import Input
from benchmarks.measure import measure
from benchmarks.samples import Arrivals, Plan, Protocol, Repeat, Request
from benchmarks.targets import Target
from deploy.cli.client.api import Refused, connected, kept_token
from deploy.errors import Unusable
from deploy.local.data_dir import default_data_dir

IDLE: Final = "0.3"  # seconds after which a stack that starts cold every time ends a worker
MANY: Final = 256
"""Connections at most, of an open loop that is not told."""
A_MOMENT: Final = 0.001
"""Seconds of a closed loop in which every client asks once."""
NEWS: Final = 5.0  # seconds in which a runner has said what models it has, after a stack is ready
OTHER: Final = ("plain", "plain-stream")
"""What servers speak that are no Samovar."""


class Wish(Struct, frozen=True, kw_only=True):
    """As it was typed."""

    models: tuple[str, ...]
    given: tuple[str, ...]
    inputs: Path | None
    folders: tuple[Path, ...]
    url: str | None
    token: str | None
    protocol: Protocol
    clients: int | None
    rate: float | None
    arrivals: Arrivals | None
    seconds: float
    warm_up: float
    repeats: int
    seed: int
    expect: str | None
    cold: bool
    name: str | None
    out: Path | None
    html: Path | None


def run(wish: Wish) -> int:
    """Returns the exit status: 1 if no answer was as it should be."""
    _check(wish)
    lines = inputs.read(wish.inputs) if wish.inputs else []
    with progress.shown() as tell, _target(wish, tell) as target:
        plan = _plan(wish, target, _requests(wish, target, lines))
        repeats = measure(plan, target, progress=tell, before=_cold(target) if wish.cold else None)
    tables.show(repeats)
    _keep(wish, repeats)
    return 0 if any(sample.error is None for repeat in repeats for sample in repeat.samples) else 1


def _check(wish: Wish) -> None:
    """Raises `Unusable` for what does not go together."""
    if wish.arrivals in ("constant", "poisson") and not wish.rate:
        raise Unusable(f"--arrivals {wish.arrivals}: at which --rate?")
    if wish.arrivals == "closed" and wish.rate:
        raise Unusable("--rate: clients that wait for their answers come at no rate of their own")
    if wish.cold and (wish.url or wish.rate):
        raise Unusable(
            "--cold needs a stack of its own, and asks once per repeat: it goes with neither --url nor --rate"
        )
    if wish.url and wish.folders:
        raise Unusable("--models is for a stack that is started; --url takes one that runs")
    if wish.protocol in OTHER and not wish.url:
        raise Unusable(f"--protocol {wish.protocol} is for other servers, which --url names")
    if wish.protocol in OTHER and wish.models:
        raise Unusable(f"--protocol {wish.protocol}: the address is all that names the model")


@contextmanager
def _target(wish: Wish, tell: Callable[[str], None]) -> Generator[Target]:
    if wish.url:
        data_dir = Path(os.environ.get("SAMOVAR_DATA_DIR") or default_data_dir())
        name = wish.url if wish.protocol in OTHER else "samovar"
        yield Target(name, wish.url, wish.token or kept_token(wish.url, data_dir))
        return
    tell("starting a stack")
    environ = {"SAMOVAR_IDLE_TIMEOUT": IDLE} if wish.cold else {}
    with targets.samovar(models=wish.folders, environ=environ) as target:
        yield target


def _requests(wish: Wish, target: Target, lines: list[Input]) -> list[Request]:
    if wish.protocol in OTHER:
        return inputs.of_address(target.url, wish.given, lines)
    until = time.monotonic() + (0 if wish.url else NEWS)
    with connected(target.url, target.token) as api:
        while True:
            try:
                return inputs.of_models(api, wish.models, wish.given, lines)
            except Refused as error:
                if error.status != 404 or time.monotonic() > until:
                    raise
            time.sleep(0.05)


def _plan(wish: Wish, target: Target, requests: list[Request]) -> Plan:
    arrivals = wish.arrivals or ("poisson" if wish.rate else "closed")
    clients = wish.clients or (1 if arrivals == "closed" else MANY)
    return Plan(
        name=wish.name or _name(wish, arrivals, clients, requests),
        target=target.name,
        url=_origin(target.url) if wish.protocol in OTHER else target.url,
        protocol=wish.protocol,
        requests=requests,
        clients=clients,
        arrivals=arrivals,
        rate=wish.rate or 0.0,
        seconds=A_MOMENT if wish.cold else wish.seconds,
        warm_up=0.0 if wish.cold else wish.warm_up,
        repeats=wish.repeats,
        seed=wish.seed,
        expect=wish.expect,
    )


def _name(wish: Wish, arrivals: Arrivals, clients: int, requests: list[Request]) -> str:
    """In words: `samovar/minilm, 4 clients, stream`."""
    models = " + ".join(dict.fromkeys(request.model or request.path for request in requests))
    load = f"{clients} client{'s' * (clients > 1)}" if arrivals == "closed" else f"{arrivals} {wish.rate:g}/s"
    return ", ".join([models, load, *([wish.protocol] if wish.protocol != "sync" else []), *["cold"] * wish.cold])


def _origin(url: str) -> str:
    return urlsplit(url)._replace(path="", query="", fragment="").geturl()


def _cold(target: Target) -> Callable[[], None]:
    """Returns once no worker is left."""

    def wait() -> None:
        assert target.pid is not None
        while processes.below(target.pid, "worker"):
            time.sleep(0.05)

    return wait


def _keep(wish: Wish, repeats: list[Repeat]) -> None:
    told = Console(stderr=True, highlight=False)
    try:
        if wish.out:
            samples.write(wish.out, repeats)
            told.print(f"samples: {wish.out}")
        if wish.html:
            from benchmarks.report.html import write_html

            write_html(repeats, wish.html)
            told.print(f"report: {wish.html}")
    except OSError as error:
        raise Unusable(f"{error.filename}: {error.strerror}") from None
