"""What comes out: values, files, chunks."""

from typing import Final

from tests.conformance.calls.inputs import case, predict
from tests.conformance.outcome import Call

_PLAIN: Final = (
    "enum", "int enum", "str enum", "datetime", "aware datetime", "set", "frozenset", "tuple", "nested tuple",
    "namedtuple", "none", "numpy int", "numpy float", "numpy array", "numpy 0-d", "nested numpy", "generator inside",
    "int keys", "big int", "unicode", "empty",
)  # fmt: skip
_MORE: Final = ("numpy bool", "date", "map", "bytes", "decimal", "uuid")
_NEVER: Final = ("object", "nan", "exception")


def unsendable(kind: str) -> Call:
    return Call(name=kind, input={"kind": kind}, may_differ_in_wording=True)


CASES: Final = (
    case("out_model", predict("fields and defaults"), predict("an optional field", note="n")),
    case("out_pydantic_like", *(predict(which, which=which) for which in ("modern", "ancient", "plain"))),
    case("out_values", *(predict(kind, kind=kind) for kind in _PLAIN)),
    case("out_values", *(predict(kind, better=("more outputs",), kind=kind) for kind in _MORE)),
    case("out_values", *(unsendable(kind) for kind in _NEVER), predict("nul", better=("no NUL",), kind="nul")),
    case(
        "out_path",
        predict("a file", better=("tidy",)),
        predict("an empty file", better=("tidy",), text=""),
        predict("a missing file", better=("missing file",), missing=True),
    ),
    case("out_paths", predict("inline", better=("tidy",))),
    case("out_paths", predict("uploaded", better=("unique keys", "tidy")), upload=True),
    case("out_path_iterator", predict("inline", better=("tidy",))),
    case("out_path_iterator", predict("uploaded", better=("unique keys", "tidy")), upload=True),
    case("out_nested_paths", predict("inline", better=("tidy",))),
    case("out_nested_paths", predict("uploaded", better=("nested files", "tidy")), upload=True),
    case("out_file", predict("in memory"), predict("on disk", better=("tidy",), opened=True)),
    case("out_large", predict("7 MB", better=("tidy",), megabytes=7)),
    case("out_long_text", predict("100 kB", characters=100_000), predict("7 MB", characters=7_000_000)),
    case("out_empty", predict("nothing"), predict("something", many=2)),
    case("out_iterator", *(predict(how, how=how) for how in ("generator", "list", "tuple"))),
    case("out_iterator", *(predict(how, better=("more outputs",), how=how) for how in ("iter", "map"))),
    case(
        "out_concatenate",
        predict("words", text="a_b_c"),
        predict("fails midway", better=("logs kept",), text="a_b", fail=True),
    ),
    case(
        "out_async_concatenate",
        predict("words", text="a_b_c"),
        predict("fails midway", better=("logs kept",), text="a_b", fail=True),
    ),
    case("out_list", predict("two"), predict("none", many=0), predict("one", many=1)),
    case("out_generator_in_model", predict("models"), predict("none", text="")),
)
