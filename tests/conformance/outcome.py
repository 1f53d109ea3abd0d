"""Calls and their outcomes, in the same terms for both sides."""

from typing import Any, Literal

from msgspec import Struct

Kind = Literal["predict", "setup", "health", "stop", "document", "signature"]
Input = dict[str, Any]


class Call(Struct, frozen=True, kw_only=True):
    """Something that both sides do with a predictor.

    In its inputs `{marks}` is a file for the predictor to write to, `{gate}` one that appears once it has given its
    first output, `{web}` the address of a server of files.
    """

    name: str
    kind: Kind = "predict"
    input: Input = {}
    beside: tuple[Input, ...] = ()
    """Predictions that are to run at the same time; the output is then the list of all outputs."""
    context: dict[str, str] = {}
    cancel: bool = False
    """Cancel it as soon as it has written to its marks."""
    stream: bool = False
    """Follow its output while it grows."""
    may_differ_in_wording: bool = False
    """Both must give a reason, but the wording may differ."""
    better: tuple[str, ...] = ()
    """Names of what ours does better, see `reasons.py`."""


class Case(Struct, frozen=True, kw_only=True):
    """A predictor, and what is asked of it, in order, of one process."""

    predictor: str
    calls: tuple[Call, ...]
    ref: str = "predict.py:Predictor"
    environment: dict[str, str] = {}
    document: bool = True
    """The oracle gets our schema document, as its own generator would have put one there."""
    upload: bool = False
    """The oracle uploads its output files, rather than to send them inline."""
    train: bool = False
    limits: dict[str, Any] = {}
    """Other limits on fetching files than those that let the comparison fetch from this host."""
    patience: float = 20.0
    """Seconds to wait for an answer of the oracle, which has been seen to give none."""


class Outcome(Struct, frozen=True, kw_only=True):
    """What came of a call on one side."""

    status: str
    """succeeded | failed | canceled | refused | unavailable, and what else a kind of call may come to."""
    output: Any = None
    metrics: dict[str, Any] = {}
    """The metrics that the predictor records."""
    logs: str = ""
    error: str = ""
    fields: tuple[str, ...] = ()
    """The inputs that a refusal names."""
    marks: str = ""
    """What the predictor wrote to its marks."""
    litter: int = 0
    """Files that stay in the temporary folder."""
    uploads: int | None = None
    """How many files the output has; None where that is not compared."""


def failure(error: BaseException) -> Outcome:
    """A side that broke down is an outcome too, and never the same as another."""
    return Outcome(status="no answer", error=f"{type(error).__name__}: {error}")
