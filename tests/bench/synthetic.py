"""Synthetic measurements that look like real ones, drawn from a seed.

They have lognormal latencies, a slower tail, and a different level in each repeat.
"""

import numpy as np
from msgspec import Raw

from benchmarks.machine import Machine
from benchmarks.samples import Arrivals, Figure, Plan, Protocol, Repeat, Request, Sample

AT = "2025-11-26T15:00:0{}+00:00"


def create_machine(busy: float = 0.1, cores: int = 2) -> Machine:
    """Return a machine."""
    return Machine(
        cpu="A Processor",
        cores=cores,
        memory_gib=7.8,
        system="Linux 6.1",
        python="3.11.9",
        libraries={"litestar": "2.25"},
        commit="c0ffee",
        busy=busy,
    )


def create_repeats(
    name: str = "no-op, 32 clients",
    target: str = "samovar",
    *,
    ms: float = 2.0,
    rate: int = 400,
    count: int = 5,
    seed: int = 1,
    clients: int = 32,
    protocol: Protocol = "sync",
    arrivals: Arrivals = "closed",
    events: int = 0,
    wrong: int = 0,
    error: str = "503 Service Unavailable",
    busy: float = 0.1,
) -> list[Repeat]:
    """Return repeats of a second each: `rate` samples around `ms`, the first `wrong` of which have an error."""
    draws = np.random.default_rng(seed)
    plan = Plan(
        name=name,
        target=target,
        url="http://someone:secret@127.0.0.1:8080",
        protocol=protocol,
        requests=[Request(path="/v1/models/samovar/noop/predictions", body=Raw(b'{"input":{}}'))],
        clients=clients,
        arrivals=arrivals,
        rate=float(rate) if arrivals != "closed" else 0.0,
        seconds=1.0,
        repeats=count,
    )
    return [_repeat(plan, number, draws, ms, rate, events, wrong, error, busy) for number in range(count)]


def _repeat(
    plan: Plan,
    number: int,
    draws: np.random.Generator,
    ms: float,
    rate: int,
    events: int,
    wrong: int,
    error: str,
    busy: float,
) -> Repeat:
    level = draws.normal(1, 0.02)
    sent = max(round(rate / level), 1)
    latencies = draws.lognormal(np.log(ms * 1000 * level), 0.3, sent).astype(int)
    samples = [
        Sample(
            at=at,
            latency=latency,
            first=latency // 3 if events else None,
            gaps=draws.integers(400, 600, events - 1).tolist() if events else [],
            error=error if index < wrong else None,
        )
        for index, (at, latency) in enumerate(
            zip(sorted(draws.integers(0, 1_000_000, sent).tolist()), latencies.tolist(), strict=True)
        )
    ]
    ours = plan.target == "samovar"
    return Repeat(
        plan=plan,
        number=number,
        at=AT.format(number),
        machine=create_machine(busy),
        seconds=1.0,
        cpu={"gateway": 0.2, "worker": 0.1, "load generator": 0.3} if ours else {"server": 0.4},
        stages={"accepted": 0.0002, "committed": 0.0007} if ours else {},
        samples=samples,
    )


def create_figure(name: str, figure: str, values: list[float], target: str = "samovar") -> Figure:
    """Return a figure."""
    return Figure(name=name, target=target, figure=figure, values=values, at=AT.format(9), machine=create_machine(1.9))
