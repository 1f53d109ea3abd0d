"""Cases for inputs: every type and every option of `Input`."""

import base64
from typing import Any, Final

from tests.conformance.outcome import Call, Case


def predict(name: str, better: tuple[str, ...] = (), may_differ_in_wording: bool = False, **input: Any) -> Call:
    return Call(name=name, input=input, better=better, may_differ_in_wording=may_differ_in_wording)


def case(predictor: str, *calls: Call, **options: Any) -> Case:
    return Case(predictor=predictor, calls=calls, **options)


def data(text: str, media: str = "text/plain") -> str:
    return f"data:{media};base64,{base64.b64encode(text.encode()).decode()}"


CASES: Final = (
    case(
        "in_str",
        predict("a text", plain="hello"),
        predict("an empty text", plain=""),
        predict("not ASCII", plain="žluťoučký 🐎"),
        predict("shortest", plain="p", short="ab"),
        predict("longest", plain="p", short="abcd"),
        predict("too short", plain="p", short="a"),
        predict("too long", plain="p", short="abcde"),
        predict("length in characters", plain="p", short="🐎🐎🐎🐎"),
        predict("a pattern that fits", plain="p", pattern="z9"),
        predict("a pattern that does not fit", plain="p", pattern="zz"),
        predict("missing"),
        predict("a number for a text", plain=5),
        predict("null for a text", plain=None),
        predict("a list for a text", plain=["a"]),
        predict("an unknown field", plain="p", unknown=1),
        predict("two that are wrong", plain=1, short="a"),
    ),
    case(
        "in_int",
        predict("smallest", n=1),
        predict("largest", n=10),
        predict("too small", n=0),
        predict("too large", n=11),
        predict("a text for an int", n="2"),
        predict("a fraction for an int", n=2.5),
        predict("a bool for an int", n=True),
        predict("null for an int", n=None),
        predict("negative", n=1, free=-5),
        predict("53 bits", n=1, free=2**53 - 1),
        predict("missing"),
    ),
    case(
        "in_float",
        predict("its default"),
        predict("an int for a float", x=1),
        predict("the lower bound", x=0.0),
        predict("under it", x=-0.1),
        predict("over the upper bound", x=1.1),
        predict("a text for a float", x="0.5"),
        predict("a bool for a float", x=True),
    ),
    case(
        "in_bool",
        predict("true", wanted=True),
        predict("false", wanted=False, other=False),
        predict("a text for a bool", wanted="true"),
        predict("a number for a bool", wanted=1),
        predict("missing", other=False),
    ),
    case(
        "in_choices",
        predict("one of them", style="oil"),
        predict("a number", style="ink", size=512),
        predict("none of them", style="chalk"),
        predict("a number that is none", style="oil", size=1024),
        predict("a number as a text", style="oil", size="512"),
        predict("missing", size=256),
    ),
    case(
        "in_literal",
        predict("one of them", style="oil"),
        predict("all", style="ink", size=2, mood="calm", tone="high"),
        predict("none of them", style="chalk"),
        predict("a number that is none", style="oil", size=3),
        predict("an optional one that is none", style="oil", mood="wild"),
        predict("described, and none", style="oil", tone="mid"),
    ),
    case(
        "in_optional",
        predict("left out"),
        predict("given", a="x", b=3, c="y"),
        predict("too small", b=-1),
        predict("of the wrong type", a=1),
        predict("null", ("null",), a=None),
        predict("null where there is no default", ("null",), b=None),
        predict("null for a default", ("null",), c=None),
    ),
    case(
        "in_union",
        predict("the first", v=1),
        predict("the second", v="1"),
        predict("neither", v=[1]),
        predict("a text", v=1, w="a"),
        predict("a list", v=1, w=["a", "b"]),
        predict("a list of the wrong type", v=1, w=[1]),
        predict("missing"),
    ),
    case(
        "in_list",
        predict("some", words=["a", "b"]),
        predict("none", words=[]),
        predict("all", words=["a"], numbers=[3], more=[1.5, 2]),
        predict("of the wrong type", words=[1]),
        predict("one wrong among right", words=["a"], numbers=[1, "2"]),
        predict("null for an optional one", ("null",), words=[], more=None),
        predict("not a list", words="a"),
        predict("missing"),
    ),
    case(
        "in_dict",
        predict("objects", a={"x": [1, {"y": None}]}, b={"n": 1}),
        predict("anything", a={}, b={}, c=[1, "a", None, {"b": 2.5}]),
        predict("not an object", a=[], b={}),
    ),
    case("in_unannotated", predict("anything", x={"a": 1}), predict("both", x="a", y=[3]), predict("missing", y=1)),
    case("in_keyword_only", predict("one", a=1), predict("all", a=1, b="b", c=2), predict("too large", a=1, c=3)),
    case(
        "in_pep563",
        predict("words", words=["a", "b", "c"]),
        predict("a limit", words=["a", "b", "c"], limit=2),
        predict("a secret", words=["a"], key="k"),
        predict("of the wrong type", words=["a"], limit="2"),
    ),
    case(
        "in_defaults",
        predict("None is no default of a str"),
        predict("the others", none="x"),
        predict("one that is deprecated", none="x", flag=True),
    ),
    case(
        "in_path",
        predict("a data: URL", file=data("inline")),
        predict("not base64", file="data:text/plain,plain%20text"),
        predict("its type", file=data("inline"), show="type"),
        predict("its suffix", file=data("{}", "application/json"), show="suffix"),
        predict("an unknown media type", file=data("x", "application/x-unheard-of"), show="suffix"),
        predict("http", file="{web}/note.txt"),
        predict("a suffix from http", file="{web}/photo.png", show="suffix"),
        predict("a query", file="{web}/note.txt?size=3"),
        predict("an escaped name", file="{web}/two%20words.txt"),
        predict("no suffix", file="{web}/bare", show="suffix"),
        predict("a redirect", file="{web}/elsewhere.txt"),
        predict("300 kB", file="{web}/large.bin", show="size"),
        predict("not there", ("tidy",), may_differ_in_wording=True, file="{web}/missing.txt"),
        predict("nobody answers", ("tidy",), may_differ_in_wording=True, file="http://127.0.0.1:9/x"),
        predict("a bare path", ("strict",), may_differ_in_wording=True, file="/etc/hostname"),
        predict("a number", file=5),
        predict("missing"),
    ),
    case(
        "in_paths",
        predict("two", files=["{web}/note.txt", data("two")]),
        predict("none", files=[]),
        predict("an optional one", files=[], mask=data("mask")),
        predict("one is not there", ("tidy",), may_differ_in_wording=True, files=[data("one"), "{web}/missing.txt"]),
        predict("not a list", files=data("one")),
    ),
    case("in_file", predict("a data: URL", file=data("inline")), predict("http", file="{web}/note.txt")),
    case(
        "in_secret",
        predict("masked", key="hush"),
        predict("an optional one", key="hush", other="secret", third="x"),
        predict("a number", key=5),
        predict("missing"),
    ),
    case("in_opaque", predict("an object", config={"b": 1, "a": [2]}), predict("no object", config=[1])),
    case("in_path", predict("a private address", ("guarded",), file="{web}/note.txt"), limits={"private": False}),
    case("in_path", predict("too large", ("guarded",), file="{web}/large.bin"), limits={"bytes": 1000}),
    # Its inspector knows no Literal, and takes a Secret whose default is None for required: its generator does not.
    *(
        case(predictor, Call(name="names, types, limits", kind="signature"))
        for predictor in (
            "in_str",
            "in_int",
            "in_float",
            "in_bool",
            "in_choices",
            "in_optional",
            "in_union",
            "in_list",
            "in_dict",
            "in_defaults",
            "in_path",
            "in_paths",
            "in_file",
            "in_opaque",
        )
    ),
)
