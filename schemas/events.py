"""The events of a prediction, from its start to its one final event."""

from datetime import datetime
from typing import Any

from msgspec import Raw, Struct, json


class Run(Struct, frozen=True, array_like=True, order=True):
    """The identity of one start of a job. A later one replaces an earlier one, whose events count no more."""

    attempt: int
    at: int
    """Unix milliseconds."""
    agent: str


class Started(Struct, frozen=True, kw_only=True, tag="started"):
    """A run has started. Published only for runs that last."""

    id: str
    run: Run
    at: datetime


class Output(Struct, frozen=True, kw_only=True, tag="output", omit_defaults=True):
    """A run has one or more chunks of output, from an iterator."""

    id: str
    run: Run
    index: int
    """Position of the first of `values` in the whole output."""
    values: list[Raw]
    files: list[str] = []
    """Keys in the file store; each stands in `values` as the string `file:<key>`."""
    stored: dict[int, str] = {}
    """Keys of the JSON texts that are too large for a message, by their position in `values`, where null stands."""


class Log(Struct, frozen=True, kw_only=True, tag="log"):
    """A run has logged more text."""

    id: str
    run: Run
    offset: int
    """Characters of this run's log before this piece."""
    text: str


class Crashed(Struct, frozen=True, kw_only=True, tag="crashed"):
    """A run has died with its worker, and the job has been published again."""

    id: str
    run: Run
    at: datetime
    reason: str
    attempt: int
    """Attempt in the job's new message."""
    job: int
    """Sequence number of the job's new message."""


class FinalBase(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The fields of all final events. Together with the earlier events of the run, they are the whole prediction."""

    id: str
    run: Run | None
    """None if the prediction never started."""
    at: datetime
    created_at: datetime | None = None
    """When the job was created."""
    started_at: datetime | None = None
    """When user code was entered."""
    pulled_at: datetime | None = None
    """When an agent got the job."""
    batched_at: datetime | None = None
    """When the agent sent it to the worker, with its batch."""
    outputs: int = 0
    """Number of chunks in the `Output` events of this run."""
    values: list[Raw] = []
    """The output, or those of its chunks that no `Output` event has."""
    many: bool = False
    """Whether the output is an iterator's: a list of chunks."""
    files: list[str] = []
    stored: dict[int, str] = {}
    logs: int = 0
    """Number of characters in the `Log` events of this run."""
    log: str = ""
    """The log after them."""
    metrics: dict[str, Any] = {}


class Succeeded(FinalBase, frozen=True, kw_only=True, tag="succeeded", omit_defaults=True):
    """The final event of a prediction that has an output."""


class Failed(FinalBase, frozen=True, kw_only=True, tag="failed", omit_defaults=True):
    """The final event of a prediction that ended with an error."""

    error: str


class Canceled(FinalBase, frozen=True, kw_only=True, tag="canceled", omit_defaults=True):
    """The final event of a prediction that was canceled; `error` is the reason, if there is one."""

    error: str | None = None


Progress = Started | Output | Log | Crashed
Final = Succeeded | Failed | Canceled
Event = Progress | Final

decode = json.Decoder(Event).decode
encode = json.Encoder().encode


def kind(event: Event) -> str:
    """Return the last token of the event's subject. All finals share one, so that the broker can refuse a second."""
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
