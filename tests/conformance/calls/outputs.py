"""What comes out: values, files, chunks."""

from typing import Final

from tests.conformance.calls.inputs import case, given
from tests.conformance.outcome import Call

_PLAIN: Final = (
    "enum", "int enum", "str enum", "datetime", "aware datetime", "set", "frozenset", "tuple", "nested tuple",
    "namedtuple", "none", "numpy int", "numpy float", "numpy array", "numpy 0-d", "nested numpy", "generator inside",
    "int keys", "big int", "unicode", "empty",
)  # fmt: skip
_MORE: Final = ("numpy bool", "date", "map", "bytes", "decimal", "uuid")
_NEVER: Final = ("object", "nan", "exception")


def unsendable(kind: str) -> Call:
    return Call(name=kind, input={"kind": kind}, own_words=True)


CASES: Final = (
    case("out_model", given("fields and defaults"), given("an optional field", note="n")),
    case("out_pydantic_like", *(given(which, which=which) for which in ("modern", "ancient", "plain"))),
    case("out_values", *(given(kind, kind=kind) for kind in _PLAIN)),
    case("out_values", *(given(kind, better=("more outputs",), kind=kind) for kind in _MORE)),
    case("out_values", *(unsendable(kind) for kind in _NEVER), given("nul", better=("no NUL",), kind="nul")),
    case(
        "out_path",
        given("a file", better=("tidy",)),
        given("an empty file", better=("tidy",), text=""),
        given("a missing file", better=("missing file",), missing=True),
    ),
    case("out_paths", given("inline", better=("tidy",))),
    case("out_paths", given("uploaded", better=("unique keys", "tidy")), upload=True),
    case("out_path_iterator", given("inline", better=("tidy",))),
    case("out_path_iterator", given("uploaded", better=("unique keys", "tidy")), upload=True),
    case("out_nested_paths", given("inline", better=("tidy",))),
    case("out_nested_paths", given("uploaded", better=("nested files", "tidy")), upload=True),
    case("out_file", given("in memory"), given("on disk", better=("tidy",), opened=True)),
    case("out_large", given("7 MB", better=("tidy",), megabytes=7)),
    case("out_long_text", given("100 kB", characters=100_000), given("7 MB", characters=7_000_000)),
    case("out_empty", given("nothing"), given("something", many=2)),
    case("out_iterator", *(given(how, how=how) for how in ("generator", "list", "tuple"))),
    case("out_iterator", *(given(how, better=("more outputs",), how=how) for how in ("iter", "map"))),
    case(
        "out_concatenate",
        given("words", text="a_b_c"),
        given("fails midway", better=("logs kept",), text="a_b", fail=True),
    ),
    case(
        "out_async_concatenate",
        given("words", text="a_b_c"),
        given("fails midway", better=("logs kept",), text="a_b", fail=True),
    ),
    case("out_list", given("two"), given("none", many=0), given("one", many=1)),
    case("out_generator_in_model", given("models"), given("none", text="")),
)
