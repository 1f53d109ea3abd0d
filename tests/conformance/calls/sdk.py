"""What a predictor finds in `cog`: its names, metrics, context, and the names of older days."""

from typing import Final

from tests.conformance.calls.inputs import case, given
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
    return Call(name=name, input={"how": name}, own_words=True, better=("logs kept",))


CASES: Final = (
    case("metrics", *(given(how, how=how) for how in _METRICS)),
    case("metrics", *(wrong(how) for how in _WRONG_METRICS)),
    case("metrics_caught", given("the error's type")),
    case(
        "metrics_of_failure",
        given("succeeds", fail=False),
        given("fails", better=("logs kept",), fail=True),
    ),
    case("scope_outside", given("says nothing of set-up's")),
    case("scope_async", given("in tasks and threads")),
    case(
        "context",
        given("none"),
        Call(name="some", context={"trace": "abc", "user": "u"}),
        given("none again, and an input", text="t"),
    ),
    case("surface", *(given(what, what=what) for what in _SURFACE)),
    case("deprecated_names", given("still there")),
    case("kept_modules", given("as ever")),
    *(
        case(name, Call(name="is set up", kind="setup", better=("old names",)), given("runs", better=("old names",)))
        for name in ("old_types", "old_exceptions", "old_modules")
    ),
    case(
        "no_document",
        given("fits", n=3),
        given("a text for an int", better=("strict",), n="3"),
        given("too large", better=("strict",), n=10),
        given("no choice", better=("strict",), word="c"),
        document=False,
    ),
    case(
        "own_document",
        Call(name="is served as it is", kind="document"),
        given("fits", n=3),
        given("more than the document allows", n=4),
        given("no choice of the document's", n=1, word="other"),
        document=False,
    ),
    case("in_str", Call(name="our document, served by both", kind="document")),
    case("in_choices", Call(name="our document, served by both", kind="document")),
    case(
        "train",
        given("by default"),
        Call(name="given", input={"steps": 3, "name": "v"}),
        given("too few", better=("strict",), steps=0),
        ref="train.py:train",
        train=True,
        document=False,
    ),
)
