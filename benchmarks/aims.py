"""What Samovar must show, and whether it does: the rows that it is judged by, and their values."""

from collections.abc import Sequence
from typing import Final, Literal

from msgspec import Struct

from benchmarks.figures import TAIL, Measurement, Spread, more_is_better, spread_of
from benchmarks.tables import number

RIVALS: Final = ("litserve", "mosec", "bentoml", "ray", "coglet")

Sign = Literal["≤", "≥", ">"]


class Reference(Struct, frozen=True, kw_only=True):
    """Another measurement, of which a bound is a share or a multiple: the best of those targets that were measured."""

    measurement: str
    figure: str
    targets: tuple[str, ...]


class Bound(Struct, frozen=True, kw_only=True):
    """`limit` on its own, or times what `of` measured."""

    measurement: str
    figure: str
    sign: Sign
    limit: float
    of: Reference | None = None
    target: str = "samovar"


class Aim(Struct, frozen=True, kw_only=True):
    what: str
    bounds: tuple[Bound, ...]


class Outcome(Struct, frozen=True, kw_only=True):
    """How a bound fared."""

    bound: Bound
    aim: str
    """In words: `≥ 4 × litserve (860)`."""
    value: Spread | None
    met: bool | None
    """None: it, or what it is compared with, was not measured."""
    wrong: int = 0
    """Wrong answers in it: with any, it is not met."""


def _bound(measurement: str, figure: str, sign: Sign, limit: float) -> Bound:
    return Bound(measurement=measurement, figure=figure, sign=sign, limit=limit)


def _than(measurement: str, figure: str, sign: Sign, limit: float, *targets: str) -> Bound:
    """The same measurement of others."""
    of = Reference(measurement=measurement, figure=figure, targets=targets)
    return Bound(measurement=measurement, figure=figure, sign=sign, limit=limit, of=of)


def _of_bare_loop(measurement: str, limit: float, batches: int) -> Bound:
    figure = f"texts/s, batches of {batches}"
    of = Reference(measurement="bare loop, minilm", figure=figure, targets=("bare loop",))
    return Bound(measurement=measurement, figure="requests/s", sign="≥", limit=limit, of=of)


AIMS: Final = (
    Aim(
        what="no-op, 1 client",
        bounds=(
            _than("no-op, 1 client", "p50 ms", "≤", 1, "litserve"),
            _bound("no-op, 1 client", "p50 ms", "≤", 1.5),
        ),
    ),
    Aim(
        what="no-op, 32 clients",
        bounds=(
            _than("no-op, 32 clients", "requests/s", "≥", 4, "litserve"),
            _bound("no-op, 32 clients", "requests/s", "≥", 4000),
        ),
    ),
    Aim(
        what="minilm, 64 clients",
        bounds=(
            _of_bare_loop("minilm, 64 clients", 0.95, 32),
            _than("minilm, 64 clients", "requests/s", ">", 1, *RIVALS),
        ),
    ),
    Aim(what="minilm, 1 client", bounds=(_of_bare_loop("minilm, 1 client", 0.85, 1),)),
    Aim(
        what="token stream, 100 streams",
        bounds=(_bound("token stream", "events/s", "≥", 20_000), _bound("first event", "ms, p50", "≤", 3)),
    ),
    Aim(
        what="open SSE streams",
        bounds=(
            _bound("open SSE streams", "streams", "≥", 2000),
            _bound("open SSE streams", "kB each", "≤", 40),
            _bound("open SSE streams", "ms, p99", "≤", 250),
        ),
    ),
    Aim(what="async create", bounds=(_bound("async create", "accepted/s", "≥", 5000),)),
    Aim(
        what="1 → 200 models known, 5 warm",
        bounds=(
            _bound("200 models known", "create latency ratio", "≤", 1.1),
            _bound("200 models known", "idle CPU ratio", "≤", 1.1),
        ),
    ),
    Aim(
        what="1 k → 1 M predictions kept",
        bounds=(
            _bound("1 M predictions", "page ratio", "≤", 1.5),
            _bound("1 M predictions", "get ratio", "≤", 1.5),
        ),
    ),
    Aim(
        what="gateway idle",
        bounds=(_bound("gateway idle", "MB", "≤", 100), _bound("gateway idle", "% of a core", "≤", 0.5)),
    ),
    Aim(what="samovar up to ready, second start", bounds=(_bound("second start", "s", "≤", 4),)),
    Aim(
        what="p99 / p50 at 70 % of capacity, open loop",
        bounds=(_bound("no-op, open loop 70 %", TAIL, "≤", 5),),
    ),
)


def outcomes(aim: Aim, found: Sequence[Measurement]) -> list[Outcome]:
    known = {(one.name, one.target): one for one in found}
    return [_outcome(bound, known) for bound in aim.bounds]


def met(of_bounds: Sequence[Outcome]) -> bool | None:
    """All of them: one that is not settles it, whether or not the others were measured."""
    if any(one.met is False for one in of_bounds):
        return False
    return True if all(one.met for one in of_bounds) else None


def _outcome(bound: Bound, known: dict[tuple[str, str], Measurement]) -> Outcome:
    one = known.get((bound.measurement, bound.target))
    values = one.values.get(bound.figure) if one else None
    limit, aim = _limit(bound, known)
    wrong = one.wrong if one else 0
    if not values or limit is None:
        return Outcome(bound=bound, aim=aim, value=spread_of(values) if values else None, met=None, wrong=wrong)
    value = spread_of(values)
    return Outcome(bound=bound, aim=aim, value=value, met=not wrong and _holds(value.median, bound, limit), wrong=wrong)


def _holds(value: float, bound: Bound, limit: float) -> bool:
    match bound.sign:
        case "≤":
            return value <= limit
        case "≥":
            return value >= limit
        case ">":
            return value > limit


def _limit(bound: Bound, known: dict[tuple[str, str], Measurement]) -> tuple[float | None, str]:
    """The limit as a number, None where it hangs on what was not measured; and in words."""
    if bound.of is None:
        return bound.limit, f"{bound.sign} {bound.limit:,g}"
    start = f"{bound.sign} " if bound.limit == 1 else f"{bound.sign} {bound.limit:g} × "
    medians = _medians(bound.of, known)
    if not medians:
        return None, f"{start}{' or '.join(bound.of.targets)} (not measured)"
    best = (max if more_is_better(bound.of.figure) else min)(medians, key=lambda target: medians[target])
    others = [target for target in bound.of.targets if target not in medians]
    missing = f"; not measured: {', '.join(others)}" if others else ""
    return bound.limit * medians[best], f"{start}{best} ({number(medians[best])}{missing})"


def _medians(of: Reference, known: dict[tuple[str, str], Measurement]) -> dict[str, float]:
    measured = [one for target in of.targets if (one := known.get((of.measurement, target)))]
    return {one.target: spread_of(one.values[of.figure]).median for one in measured if of.figure in one.values}
