"""What a predictor finds in `cog`: its names, metrics, context, and the names of older days."""

from typing import Final

from tests.conformance.calls.inputs import case, predict
from tests.conformance.outcome import Call

_METRICS: Final = (
    "kinds", "replace", "incr", "append", "append to one", "nested", "four words", "mapping", "record and delete",
    "delete, then another type", "self", "128", "a value and words below it", "nested and then its head",
)  # fmt: skip
_WRONG_METRICS: Final = (
    "five words", "long", "reserved", "cog.", "a dash", "empty", "a dot at its end", "a digit first",
    "an underscore first", "an underscore last", "two underscores", "another type", "bool becomes int", "incr a text",
    "incr by another type", "a mode that is none", "an object", "None", "int becomes float",
)  # fmt: skip
_SURFACE: Final = (
    "public names", "classes", "model", "model fields", "manual model", "frozen model", "secret",
    "empty secret", "frozen secret", "path", "path validate", "path of a URL", "path of data", "file validate",
    "file of nothing", "url file", "url file of ftp", "input factory", "input positional", "concurrent zero",
    "concurrent text", "concurrent sync", "concurrent bare", "streaming", "no such name", "opaque",
)  # fmt: skip


def wrong(name: str) -> Call:
    return Call(name=name, input={"how": name}, may_differ_in_wording=True, better=("logs kept",))


CASES: Final = (
    case("metrics", *(predict(how, how=how) for how in _METRICS)),
    case("metrics", *(wrong(how) for how in _WRONG_METRICS)),
    case("metrics_caught", predict("the error's type")),
    case(
        "metrics_of_failure",
        predict("succeeds", fail=False),
        predict("fails", better=("logs kept",), fail=True),
    ),
    case("scope_outside", predict("says nothing of set-up's")),
    case("scope_async", predict("in tasks and threads")),
    case(
        "context",
        predict("none"),
        Call(name="some", context={"trace": "abc", "user": "u"}),
        predict("none again, and an input", text="t"),
    ),
    case("surface", *(predict(what, what=what) for what in _SURFACE)),
    case("deprecated_names", predict("still there")),
    case("kept_modules", predict("as ever")),
    *(
        case(name, Call(name="is set up", kind="setup", better=("old names",)), predict("runs", better=("old names",)))
        for name in ("old_types", "old_exceptions", "old_modules")
    ),
    case(
        "no_document",
        predict("fits", n=3),
        predict("a text for an int", better=("strict",), n="3"),
        predict("too large", better=("strict",), n=10),
        predict("no choice", better=("strict",), word="c"),
        document=False,
    ),
    case(
        "own_document",
        Call(name="is served as it is", kind="document"),
        predict("fits", n=3),
        predict("more than the document allows", n=4),
        predict("no choice of the document's", n=1, word="other"),
        document=False,
    ),
    case("in_str", Call(name="our document, served by both", kind="document")),
    case("in_choices", Call(name="our document, served by both", kind="document")),
    case(
        "train",
        predict("by default"),
        Call(name="given", input={"steps": 3, "name": "v"}),
        predict("too few", better=("strict",), steps=0),
        ref="train.py:train",
        train=True,
        document=False,
    ),
)
