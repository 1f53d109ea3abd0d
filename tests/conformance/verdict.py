"""The judge of two outcomes: the same, better on purpose, or different."""

from typing import Literal

from msgspec import Struct, json, structs

from tests.conformance.outcome import Call, Outcome
from tests.conformance.reasons import REASONS


class Verdict(Struct, frozen=True, kw_only=True):
    case: str
    call: Call
    oracle: Outcome
    ours: Outcome
    kind: Literal["same", "better", "different"]
    why: str = ""


def judge(case: str, call: Call, oracle: Outcome, ours: Outcome) -> Verdict:
    kind, why = _kind(call, oracle, ours)
    return Verdict(case=case, call=call, oracle=oracle, ours=ours, kind=kind, why=why)


def _kind(call: Call, oracle: Outcome, ours: Outcome) -> tuple[Literal["same", "better", "different"], str]:
    differing = differences(call, oracle, ours)
    if not call.better:
        return ("different", ", ".join(sorted(differing))) if differing else ("same", "")
    reasons = [REASONS[name] for name in call.better]
    if hidden := [reason.text for reason in reasons if not reason.is_shown(oracle, ours)]:
        return "different", f"does not show: {'; '.join(hidden)}"
    if rest := differing.difference(*(reason.excuses for reason in reasons)):
        return "different", ", ".join(sorted(rest))
    return "better", "; ".join(reason.text for reason in reasons)


def differences(call: Call, oracle: Outcome, ours: Outcome) -> set[str]:
    """Return the fields in which the two differ."""
    names = {name for name in Outcome.__struct_fields__ if _text(oracle, name) != _text(ours, name)}
    if (call.may_differ_in_wording and oracle.error and ours.error) or _same_error(oracle.error, ours.error):
        names.discard("error")
    if "no answer" in (oracle.status, ours.status):
        names.add("status")
    return names


def _same_error(oracle: str, ours: str) -> bool:
    """The oracle's begins with the exception's type, ours only where there is no other text."""
    type, _, text = oracle.partition(": ")
    return ours == text or (ours == type.rstrip(": ") and not text)


def _text(outcome: Outcome, name: str) -> bytes:
    """As JSON, which tells 1 from 1.0 and from true."""
    return json.encode(getattr(outcome, name), order="sorted")


def brief(outcome: Outcome) -> str:
    """Return an outcome on one line."""
    fields = structs.asdict(outcome)
    return ", ".join(f"{name}={value!r}"[:300] for name, value in fields.items() if value not in ("", None, {}, (), 0))
