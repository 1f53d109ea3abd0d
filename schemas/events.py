"""What a runner says of a prediction, from its start to its one final event."""

from datetime import datetime
from typing import Any

from msgspec import Raw, Struct, json


class Run(Struct, frozen=True, array_like=True, order=True):
    """One start of a job. A later one replaces an earlier one, and what the earlier one said counts no more."""

    attempt: int
    at: int
    """Unix milliseconds."""
    agent: str


class Started(Struct, frozen=True, kw_only=True, tag="started"):
    """Said only of runs that last."""

    id: str
    run: Run
    at: datetime


class Output(Struct, frozen=True, kw_only=True, tag="output", omit_defaults=True):
    """One or more chunks of an iterator's output."""

    id: str
    run: Run
    index: int
    """Of the first of `values` in the whole output."""
    values: list[Raw]
    files: list[str] = []
    """Keys in the file store; each stands in `values` as the string `file:<key>`."""
    stored: dict[int, str] = {}
    """Of values too large for a message: their places in `values`, where null stands, and the keys of their texts."""


class Log(Struct, frozen=True, kw_only=True, tag="log"):
    id: str
    run: Run
    offset: int
    """Characters of log that this run said before."""
    text: str


class Crashed(Struct, frozen=True, kw_only=True, tag="crashed"):
    """The run died with its worker; the job has been published again."""

    id: str
    run: Run
    at: datetime
    reason: str
    attempt: int
    """Of the job's new message."""
    job: int
    """Sequence of the job's new message."""


class Ended(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What all final events have in common: with what was said before, it is the whole of the prediction."""

    id: str
    run: Run | None
    """None: the prediction never started."""
    at: datetime
    created_at: datetime | None = None
    """Of the job."""
    started_at: datetime | None = None
    """When user code was entered."""
    pulled_at: datetime | None = None
    """When an agent got the job."""
    batched_at: datetime | None = None
    """When it was sent to the worker, with its batch."""
    outputs: int = 0
    """Chunks that `Output` events of this run said before."""
    values: list[Raw] = []
    """The output, or the chunks of it not said before."""
    many: bool = False
    """The output is an iterator's: a list of chunks."""
    files: list[str] = []
    stored: dict[int, str] = {}
    logs: int = 0
    """Characters that `Log` events of this run said before."""
    log: str = ""
    """What was logged after them."""
    metrics: dict[str, Any] = {}


class Succeeded(Ended, frozen=True, kw_only=True, tag="succeeded", omit_defaults=True):
    pass


class Failed(Ended, frozen=True, kw_only=True, tag="failed", omit_defaults=True):
    error: str


class Canceled(Ended, frozen=True, kw_only=True, tag="canceled", omit_defaults=True):
    error: str | None = None


Progress = Started | Output | Log | Crashed
Final = Succeeded | Failed | Canceled
Event = Progress | Final

decode = json.Decoder(Event).decode
encode = json.Encoder().encode


def kind(event: Event) -> str:
    """The last token of the event's subject: all finals share one, so that the broker can refuse a second."""
    match event:
        case Started():
            return "started"
        case Output():
            return "output"
        case Log():
            return "log"
        case Crashed():
            return "crashed"
        case Succeeded() | Failed() | Canceled():
            return "final"
