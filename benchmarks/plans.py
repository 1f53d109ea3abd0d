"""The suite's plain rows: which model, what it is asked, by how many and how, as plans for any Samovar."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from msgspec import Raw, Struct, json

from benchmarks.samples import Arrivals, Plan, Protocol, Request
from benchmarks.targets import Target
from benchmarks.texts import TEXTS

MODELS: Final = Path(__file__).with_name("models")
"""For `samovar up --models`: it serves them as samovar/noop, samovar/sleep, …"""

Input = dict[str, Any]


class Plain(Struct, frozen=True, kw_only=True):
    """A row that is a load of one kind of request, or of several in turns."""

    name: str
    predictor: str
    """Of those that the rivals serve, too; `mixed` for all in turns."""
    clients: int
    protocol: Protocol = "sync"
    arrivals: Arrivals = "closed"
    rivals: bool = True
    """Whether they can do the same."""
    input: Input | None = None
    """Another than the predictor's usual ones."""
    longer: float = 1.0
    """How many times as long as other rows: where few answers come in a second."""
    share: float = 0.0
    """Open loop: the arrivals' rate, as a share of what as many clients get in a closed one."""


PLAIN: Final = (
    Plain(name="no-op, 1 client", predictor="noop", clients=1),
    Plain(name="no-op, 32 clients", predictor="noop", clients=32),
    Plain(name="no-op, async, 8 clients", predictor="noop", clients=8, protocol="async", rivals=False),
    Plain(name="no-op, open loop 70 %", predictor="noop", clients=32, arrivals="poisson", rivals=False, share=0.7),
    Plain(name="sleep 10 ms, 1 client", predictor="sleep", clients=1),
    Plain(name="sleep 10 ms, 32 clients", predictor="sleep", clients=32),
    Plain(
        name="cancel, 8 clients",
        predictor="sleep",
        clients=8,
        protocol="cancel",
        rivals=False,
        input={"text": "tea", "seconds": 60},
    ),
    Plain(name="minilm, 1 client", predictor="minilm", clients=1, longer=2),
    Plain(name="minilm, 64 clients", predictor="minilm", clients=64, longer=2),
    Plain(name="tokens, 1 stream", predictor="tokens", clients=1, protocol="stream"),
    Plain(name="tokens, 100 streams", predictor="tokens", clients=100, protocol="stream"),
    Plain(name="1 MB output, 8 clients", predictor="megabyte", clients=8),
    Plain(name="mixed models, 16 clients", predictor="mixed", clients=16, rivals=False),
)

INPUTS: Final[dict[str, Sequence[Input]]] = {
    "noop": [{"text": "tea"}],
    "sleep": [{"text": "tea"}],
    "minilm": [{"text": text} for text in TEXTS],
    "tokens": [{"count": 100}],
    "megabyte": [{"text": "tea"}],
}
MIXED: Final = ("noop", "sleep", "minilm", "tokens")
EXPECT: Final = {"noop": '"succeeded"', "sleep": '"succeeded"', "minilm": '"succeeded"', "megabyte": '"succeeded"'}


def plan(row: Plain, target: Target, *, seconds: float, repeats: int, rate: float = 0.0) -> Plan:
    """For a Samovar that serves the harness's models."""
    return Plan(
        name=row.name,
        target=target.name,
        url=target.url,
        protocol=row.protocol,
        requests=list(_requests(row)),
        clients=row.clients,
        arrivals=row.arrivals,
        rate=rate,
        seconds=seconds * row.longer,
        repeats=repeats,
        expect=EXPECT.get(row.predictor) if row.protocol == "sync" else None,
    )


def _requests(row: Plain) -> Sequence[Request]:
    if row.predictor != "mixed":
        return [request(row.predictor, input) for input in ([row.input] if row.input else INPUTS[row.predictor])]
    return [request(name, INPUTS[name][0]) for name in MIXED]


def request(predictor: str, input: Input) -> Request:
    body = json.encode({"input": input})
    return Request(path=f"/v1/models/samovar/{predictor}/predictions", body=Raw(body), model=predictor)
