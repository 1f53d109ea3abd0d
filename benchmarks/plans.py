"""The suite's plain rows: the model, its inputs and the load of each, as plans for any Samovar."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from msgspec import Raw, Struct, json

from benchmarks.samples import Arrivals, Plan, Protocol, Request
from benchmarks.targets import Target
from benchmarks.texts import TEXTS

MODELS: Final = Path(__file__).with_name("models")
"""The folder for `samovar up --models`, which serves them as samovar/noop, samovar/sleep, …"""

Input = dict[str, Any]


class PlainRow(Struct, frozen=True, kw_only=True):
    """A row that is a load of one kind of request, or of several in turns."""

    name: str
    predictor: str
    """A predictor that the rivals serve, too; `mixed` for all in turns."""
    clients: int
    protocol: Protocol = "sync"
    arrivals: Arrivals = "closed"
    has_rivals: bool = True
    """Whether the rivals can do the same."""
    input: Input | None = None
    """An input other than the predictor's usual ones."""
    duration_factor: float = 1.0
    """How many times as long as other rows it takes, where only a few answers come in a second."""
    share: float = 0.0
    """The rate of an open loop, as a share of what as many clients get in a closed one."""


PLAIN_ROWS: Final = (
    PlainRow(name="no-op, 1 client", predictor="noop", clients=1),
    PlainRow(name="no-op, 32 clients", predictor="noop", clients=32),
    PlainRow(name="no-op, async, 8 clients", predictor="noop", clients=8, protocol="async", has_rivals=False),
    PlainRow(
        name="no-op, open loop 70 %", predictor="noop", clients=32, arrivals="poisson", has_rivals=False, share=0.7
    ),
    PlainRow(name="sleep 10 ms, 1 client", predictor="sleep", clients=1),
    PlainRow(name="sleep 10 ms, 32 clients", predictor="sleep", clients=32),
    PlainRow(
        name="cancel, 8 clients",
        predictor="sleep",
        clients=8,
        protocol="cancel",
        has_rivals=False,
        input={"text": "tea", "seconds": 60},
    ),
    PlainRow(name="minilm, 1 client", predictor="minilm", clients=1, duration_factor=2),
    PlainRow(name="minilm, 64 clients", predictor="minilm", clients=64, duration_factor=2),
    PlainRow(name="tokens, 1 stream", predictor="tokens", clients=1, protocol="stream"),
    PlainRow(name="tokens, 100 streams", predictor="tokens", clients=100, protocol="stream"),
    PlainRow(name="1 MB output, 8 clients", predictor="megabyte", clients=8),
    PlainRow(name="mixed models, 16 clients", predictor="mixed", clients=16, has_rivals=False),
)

INPUTS: Final[dict[str, Sequence[Input]]] = {
    "noop": [{"text": "tea"}],
    "sleep": [{"text": "tea"}],
    "minilm": [{"text": text} for text in TEXTS],
    "tokens": [{"count": 100}],
    "megabyte": [{"text": "tea"}],
}
MIXED_PREDICTORS: Final = ("noop", "sleep", "minilm", "tokens")
EXPECTED_TEXTS: Final = {
    "noop": '"succeeded"',
    "sleep": '"succeeded"',
    "minilm": '"succeeded"',
    "megabyte": '"succeeded"',
}


def create_plan(row: PlainRow, target: Target, *, seconds: float, repeats: int, rate: float = 0.0) -> Plan:
    """Return the plan of a row for a Samovar that serves the harness's models."""
    return Plan(
        name=row.name,
        target=target.name,
        url=target.url,
        protocol=row.protocol,
        requests=list(_requests(row)),
        clients=row.clients,
        arrivals=row.arrivals,
        rate=rate,
        seconds=seconds * row.duration_factor,
        repeats=repeats,
        expect=EXPECTED_TEXTS.get(row.predictor) if row.protocol == "sync" else None,
    )


def _requests(row: PlainRow) -> Sequence[Request]:
    if row.predictor != "mixed":
        return [create_request(row.predictor, input) for input in ([row.input] if row.input else INPUTS[row.predictor])]
    return [create_request(name, INPUTS[name][0]) for name in MIXED_PREDICTORS]


def create_request(predictor: str, input: Input) -> Request:
    """Return a request for a prediction."""
    body = json.encode({"input": input})
    return Request(path=f"/v1/models/samovar/{predictor}/predictions", body=Raw(body), model=predictor)
