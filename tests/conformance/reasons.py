"""What ours does better on purpose: the only differences that are allowed, and a check for each."""

from collections.abc import Callable
from typing import Final, Literal

from msgspec import Struct

from tests.conformance.outcome import Outcome

Source = Literal["the list", "the issue", "the API", "a decision"]


class Reason(Struct, frozen=True):
    source: Source
    """The list of what is better on purpose, what was asked for beside it, Replicate's API, or a decision since."""
    text: str
    excuses: frozenset[str]
    """The fields of an outcome that may differ for it."""
    is_shown: Callable[[Outcome, Outcome], bool]
    """Whether the oracle's outcome and ours show it."""


def _has_more_logs(oracle: Outcome, ours: Outcome) -> bool:
    return ours.status in ("failed", "canceled", "broken") and not oracle.logs and bool(ours.logs)


def _has_all_logs(oracle: Outcome, ours: Outcome) -> bool:
    lines = [line for line in oracle.logs.splitlines() if line]
    return len(ours.logs) > len(oracle.logs) and all(line in ours.logs for line in lines)


def _items(outcome: Outcome) -> list[str]:
    return [str(item) for item in outcome.output] if isinstance(outcome.output, list) else []


REASONS: Final[dict[str, Reason]] = {
    "live": Reason(
        "the list",
        "async generators stream live",
        frozenset({"output"}),
        lambda oracle, ours: "late" in _items(oracle) and "live" in _items(ours),
    ),
    "logs kept": Reason(
        "the list",
        "logs are kept on failure and on cancel, with the traceback",
        frozenset({"logs"}),
        _has_more_logs,
    ),
    "all logs": Reason(
        "the list",
        "logs include what child processes and native code print",
        frozenset({"logs"}),
        _has_all_logs,
    ),
    "replaced": Reason(
        "the list",
        "a crashed worker is replaced, and nobody waits for it in vain",
        frozenset({"status", "output", "error", "logs"}),
        lambda oracle, ours: oracle.status in ("unavailable", "no answer") and ours.status in ("succeeded", "failed"),
    ),
    "unique keys": Reason(
        "the list",
        "upload keys are unique: files of one name do not overwrite each other",
        frozenset({"output"}),
        lambda oracle, ours: len(set(_items(oracle))) == 1 and len(set(_items(ours))) == len(_items(ours)) > 1,
    ),
    "nested files": Reason(
        "the list",
        "nested Paths are uploaded as files",
        frozenset({"uploads"}),
        lambda oracle, ours: oracle.uploads is not None and (ours.uploads or 0) > oracle.uploads,
    ),
    "tidy": Reason(
        "the list",
        "temporary files are removed, those of outputs too",
        frozenset({"litter"}),
        lambda oracle, ours: oracle.litter > 0 and ours.litter == 0,
    ),
    "group": Reason(
        "the list",
        "a worker is a process group and dies as one",
        frozenset({"status"}),
        lambda oracle, ours: (oracle.status, ours.status) == ("alive", "gone"),
    ),
    "interrupts": Reason(
        "the list",
        "a cancel interrupts time.sleep and subprocess.run",
        frozenset({"marks"}),
        lambda oracle, ours: "slept through" in oracle.marks and "interrupted" in ours.marks,
    ),
    "old names": Reason(
        "the issue",
        "names that older predictors import are there",
        frozenset({"status", "output", "error", "logs"}),
        lambda oracle, ours: oracle.status in ("broken", "unavailable") and ours.status in ("ready", "succeeded"),
    ),
    "strict": Reason(
        "the issue",
        "inputs are checked against the schema, also without a schema file",
        frozenset({"status", "output", "error", "logs", "fields"}),
        lambda oracle, ours: oracle.status in ("succeeded", "failed") and ours.status == "refused",
    ),
    "guarded": Reason(
        "the issue",
        "files are fetched from the addresses and in the sizes that the operator allows",
        frozenset({"status", "output", "error", "logs"}),
        lambda oracle, ours: oracle.status == "succeeded" and ours.status == "failed",
    ),
    "more outputs": Reason(
        "the issue",
        "numpy and torch scalars, dates, bytes and other plain values are sent",
        frozenset({"status", "output", "error", "logs"}),
        lambda oracle, ours: "not JSON serializable" in oracle.error and ours.status == "succeeded",
    ),
    "missing file": Reason(
        "a decision",
        "an output file that does not exist is a failure that names it, and no silent null",
        frozenset({"status", "error"}),
        lambda oracle, ours: (oracle.status, oracle.output) == ("succeeded", None) and "does not exist" in ours.error,
    ),
    "null": Reason(
        "the API",
        "an explicit null for an optional input means that it was left out",
        frozenset({"status", "output", "fields"}),
        lambda oracle, ours: (oracle.status, ours.status) == ("refused", "succeeded"),
    ),
    "no NUL": Reason(
        "a decision",
        "a NUL character, which the database cannot keep, becomes U+FFFD",
        frozenset({"output"}),
        lambda oracle, ours: str(oracle.output).replace("\0", "\ufffd") == ours.output,
    ),
}
