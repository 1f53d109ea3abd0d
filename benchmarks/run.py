"""`samovar bench run`: measures any model with any input, and shows the result."""

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
from deploy.cli.client.api import RequestRefused, open_api, read_stored_token
from deploy.errors import UsageError
from deploy.local.data_dir import default_data_dir

IDLE_TIMEOUT: Final = "0.3"  # seconds after which the stack of --cold ends an idle worker
MAX_CONNECTIONS: Final = 256
"""Connections of an open loop at most, without --clients."""
ONE_ROUND: Final = 0.001
"""Seconds of a closed loop in which every client sends one request."""
REPORT_SECONDS: Final = 5.0  # seconds until a runner has registered its models, after a stack is ready
PLAIN_PROTOCOLS: Final = ("plain", "plain-stream")
"""The protocols of servers other than Samovar."""


class RunOptions(Struct, frozen=True, kw_only=True):
    """The options of the command."""

    models: tuple[str, ...]
    pairs: tuple[str, ...]
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


def run(options: RunOptions) -> int:
    """Measure a model, and return the exit status: 1 if no answer was right."""
    _check_options(options)
    lines = inputs.read_inputs(options.inputs) if options.inputs else []
    with progress.show_progress() as report, _open_target(options, report) as target:
        plan = _create_plan(options, target, _read_requests(options, target, lines))
        repeats = measure(plan, target, progress=report, before=_wait_until_cold(target) if options.cold else None)
    tables.print_tables(repeats)
    _write_files(options, repeats)
    return 0 if any(sample.error is None for repeat in repeats for sample in repeat.samples) else 1


def _check_options(options: RunOptions) -> None:
    """Raise `UsageError` for options that exclude each other."""
    if options.arrivals in ("constant", "poisson") and not options.rate:
        raise UsageError(f"--arrivals {options.arrivals} needs a rate: add --rate")
    if options.arrivals == "closed" and options.rate:
        raise UsageError("--rate does not go with --arrivals closed: such clients wait for their answers")
    if options.cold and (options.url or options.rate):
        raise UsageError(
            "--cold starts a stack of its own, and sends one request per repeat: leave out --url and --rate"
        )
    if options.url and options.folders:
        raise UsageError("--models is for a stack that the command starts; leave out --models or --url")
    if options.protocol in PLAIN_PROTOCOLS and not options.url:
        raise UsageError(f"--protocol {options.protocol} is for another server: add --url")
    if options.protocol in PLAIN_PROTOCOLS and options.models:
        raise UsageError(f"--protocol {options.protocol} takes no model names: --url is the address of the model")


@contextmanager
def _open_target(options: RunOptions, report: Callable[[str], None]) -> Generator[Target]:
    if options.url:
        data_dir = Path(os.environ.get("SAMOVAR_DATA_DIR") or default_data_dir())
        name = options.url if options.protocol in PLAIN_PROTOCOLS else "samovar"
        yield Target(name, options.url, options.token or read_stored_token(options.url, data_dir))
        return
    report("starting a stack")
    environ = {"SAMOVAR_IDLE_TIMEOUT": IDLE_TIMEOUT} if options.cold else {}
    with targets.start_samovar(models=options.folders, environ=environ) as target:
        yield target


def _read_requests(options: RunOptions, target: Target, lines: list[Input]) -> list[Request]:
    if options.protocol in PLAIN_PROTOCOLS:
        return inputs.address_requests(target.url, options.pairs, lines)
    until = time.monotonic() + (0 if options.url else REPORT_SECONDS)
    with open_api(target.url, target.token) as api:
        while True:
            try:
                return inputs.model_requests(api, options.models, options.pairs, lines)
            except RequestRefused as error:
                if error.status != 404 or time.monotonic() > until:
                    raise
            time.sleep(0.05)


def _create_plan(options: RunOptions, target: Target, requests: list[Request]) -> Plan:
    arrivals = options.arrivals or ("poisson" if options.rate else "closed")
    clients = options.clients or (1 if arrivals == "closed" else MAX_CONNECTIONS)
    return Plan(
        name=options.name or _measurement_name(options, arrivals, clients, requests),
        target=target.name,
        url=_origin(target.url) if options.protocol in PLAIN_PROTOCOLS else target.url,
        protocol=options.protocol,
        requests=requests,
        clients=clients,
        arrivals=arrivals,
        rate=options.rate or 0.0,
        seconds=ONE_ROUND if options.cold else options.seconds,
        warm_up=0.0 if options.cold else options.warm_up,
        repeats=options.repeats,
        seed=options.seed,
        expect=options.expect,
    )


def _measurement_name(options: RunOptions, arrivals: Arrivals, clients: int, requests: list[Request]) -> str:
    """Return the name of the measurement: `samovar/minilm, 4 clients, stream`."""
    models = " + ".join(dict.fromkeys(request.model or request.path for request in requests))
    load = f"{clients} client{'s' * (clients > 1)}" if arrivals == "closed" else f"{arrivals} {options.rate:g}/s"
    return ", ".join(
        [models, load, *([options.protocol] if options.protocol != "sync" else []), *["cold"] * options.cold]
    )


def _origin(url: str) -> str:
    return urlsplit(url)._replace(path="", query="", fragment="").geturl()


def _wait_until_cold(target: Target) -> Callable[[], None]:
    """Return a function that waits until no worker is left."""

    def wait() -> None:
        assert target.pid is not None
        while processes.find_below(target.pid, "worker"):
            time.sleep(0.05)

    return wait


def _write_files(options: RunOptions, repeats: list[Repeat]) -> None:
    console = Console(stderr=True, highlight=False)
    try:
        if options.out:
            samples.write_measurements(options.out, repeats)
            console.print(f"samples: {options.out}")
        if options.html:
            from benchmarks.report.html import write_html

            write_html(repeats, options.html)
            console.print(f"report: {options.html}")
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}") from None
