"""The aims of Samovar: the figures that it must reach, and whether it does."""

from collections.abc import Sequence
from typing import Final, Literal

from msgspec import Struct

from benchmarks.figures import TAIL_FIGURE, Measurement, Spread, is_more_better, spread_of
from benchmarks.tables import format_number

RIVALS: Final = ("litserve", "mosec", "bentoml", "ray", "coglet")

Sign = Literal["≤", "≥", ">"]


class Reference(Struct, frozen=True, kw_only=True):
    """Another measurement, of which a bound is a share or a multiple.

    Of several targets the best one that was measured counts.
    """

    measurement: str
    figure: str
    targets: tuple[str, ...]


class Bound(Struct, frozen=True, kw_only=True):
    """A limit on one figure: `limit` itself, or `limit` times what `of` measured."""

    measurement: str
    figure: str
    sign: Sign
    limit: float
    of: Reference | None = None
    target: str = "samovar"


class Aim(Struct, frozen=True, kw_only=True):
    """A row of the results that Samovar must reach, with its bounds."""

    what: str
    bounds: tuple[Bound, ...]


class Outcome(Struct, frozen=True, kw_only=True):
    """The comparison of a measurement with a bound."""

    bound: Bound
    aim: str
    """The bound in words: `≥ 4 × litserve (860)`."""
    value: Spread | None
    is_met: bool | None
    """None if the figure, or what it is compared with, was not measured."""
    wrong: int = 0
    """How many answers were wrong; with any, the bound is not met."""


def _absolute(measurement: str, figure: str, sign: Sign, limit: float) -> Bound:
    return Bound(measurement=measurement, figure=figure, sign=sign, limit=limit)


def _relative(measurement: str, figure: str, sign: Sign, limit: float, *targets: str) -> Bound:
    """Return a bound by the same measurement of other targets."""
    of = Reference(measurement=measurement, figure=figure, targets=targets)
    return Bound(measurement=measurement, figure=figure, sign=sign, limit=limit, of=of)


def _share_of_bare_loop(measurement: str, limit: float, batches: int) -> Bound:
    figure = f"texts/s, batches of {batches}"
    of = Reference(measurement="bare loop, minilm", figure=figure, targets=("bare loop",))
    return Bound(measurement=measurement, figure="requests/s", sign="≥", limit=limit, of=of)


AIMS: Final = (
    Aim(
        what="no-op, 1 client",
        bounds=(
            _relative("no-op, 1 client", "p50 ms", "≤", 1, "litserve"),
            _absolute("no-op, 1 client", "p50 ms", "≤", 1.5),
        ),
    ),
    Aim(
        what="no-op, 32 clients",
        bounds=(
            _relative("no-op, 32 clients", "requests/s", "≥", 4, "litserve"),
            _absolute("no-op, 32 clients", "requests/s", "≥", 4000),
        ),
    ),
    Aim(
        what="minilm, 64 clients",
        bounds=(
            _share_of_bare_loop("minilm, 64 clients", 0.95, 32),
            _relative("minilm, 64 clients", "requests/s", ">", 1, *RIVALS),
        ),
    ),
    Aim(what="minilm, 1 client", bounds=(_share_of_bare_loop("minilm, 1 client", 0.85, 1),)),
    Aim(
        what="token stream, 100 streams",
        bounds=(_absolute("token stream", "events/s", "≥", 20_000), _absolute("first event", "ms, p50", "≤", 3)),
    ),
    Aim(
        what="open SSE streams",
        bounds=(
            _absolute("open SSE streams", "streams", "≥", 2000),
            _absolute("open SSE streams", "kB each", "≤", 40),
            _absolute("open SSE streams", "ms, p99", "≤", 250),
        ),
    ),
    Aim(what="async create", bounds=(_absolute("async create", "accepted/s", "≥", 5000),)),
    Aim(
        what="1 → 200 models known, 5 warm",
        bounds=(
            _absolute("200 models known", "create latency ratio", "≤", 1.1),
            _absolute("200 models known", "idle CPU ratio", "≤", 1.1),
        ),
    ),
    Aim(
        what="1 k → 1 M predictions kept",
        bounds=(
            _absolute("1 M predictions", "page ratio", "≤", 1.5),
            _absolute("1 M predictions", "get ratio", "≤", 1.5),
        ),
    ),
    Aim(
        what="gateway idle",
        bounds=(_absolute("gateway idle", "MB", "≤", 100), _absolute("gateway idle", "% of a core", "≤", 0.5)),
    ),
    Aim(what="samovar up to ready, second start", bounds=(_absolute("second start", "s", "≤", 4),)),
    Aim(
        what="p99 / p50 at 70 % of capacity, open loop",
        bounds=(_absolute("no-op, open loop 70 %", TAIL_FIGURE, "≤", 5),),
    ),
)


def aim_outcomes(aim: Aim, measurements: Sequence[Measurement]) -> list[Outcome]:
    """Return the outcome of each of an aim's bounds."""
    known = {(measurement.name, measurement.target): measurement for measurement in measurements}
    return [_outcome(bound, known) for bound in aim.bounds]


def is_aim_met(of_bounds: Sequence[Outcome]) -> bool | None:
    """Return whether all bounds are met; None if that is not known.

    One that is not met decides it, whether or not the others were measured.
    """
    if any(measurement.is_met is False for measurement in of_bounds):
        return False
    return True if all(measurement.is_met for measurement in of_bounds) else None


def _outcome(bound: Bound, known: dict[tuple[str, str], Measurement]) -> Outcome:
    measurement = known.get((bound.measurement, bound.target))
    values = measurement.values.get(bound.figure) if measurement else None
    limit, aim = _limit(bound, known)
    wrong = measurement.wrong if measurement else 0
    if not values or limit is None:
        return Outcome(bound=bound, aim=aim, value=spread_of(values) if values else None, is_met=None, wrong=wrong)
    value = spread_of(values)
    return Outcome(
        bound=bound, aim=aim, value=value, is_met=not wrong and _holds(value.median, bound, limit), wrong=wrong
    )


def _holds(value: float, bound: Bound, limit: float) -> bool:
    match bound.sign:
        case "≤":
            return value <= limit
        case "≥":
            return value >= limit
        case ">":
            return value > limit


def _limit(bound: Bound, known: dict[tuple[str, str], Measurement]) -> tuple[float | None, str]:
    """Return the limit as a number, None if it depends on something that was not measured; and in words."""
    if bound.of is None:
        return bound.limit, f"{bound.sign} {bound.limit:,g}"
    start = f"{bound.sign} " if bound.limit == 1 else f"{bound.sign} {bound.limit:g} × "
    medians = _medians(bound.of, known)
    if not medians:
        return None, f"{start}{' or '.join(bound.of.targets)} (not measured)"
    best = (max if is_more_better(bound.of.figure) else min)(medians, key=lambda target: medians[target])
    others = [target for target in bound.of.targets if target not in medians]
    missing = f"; not measured: {', '.join(others)}" if others else ""
    return bound.limit * medians[best], f"{start}{best} ({format_number(medians[best])}{missing})"


def _medians(of: Reference, known: dict[tuple[str, str], Measurement]) -> dict[str, float]:
    measured = [measurement for target in of.targets if (measurement := known.get((of.measurement, target)))]
    return {
        measurement.target: spread_of(measurement.values[of.figure]).median
        for measurement in measured
        if of.figure in measurement.values
    }
