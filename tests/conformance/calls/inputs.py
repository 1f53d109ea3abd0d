"""What goes in: every type and every option of `Input`."""

import base64
from typing import Any, Final

from tests.conformance.outcome import Call, Case


def given(name: str, better: tuple[str, ...] = (), own_words: bool = False, **input: Any) -> Call:
    return Call(name=name, input=input, better=better, own_words=own_words)


def case(predictor: str, *calls: Call, **options: Any) -> Case:
    return Case(predictor=predictor, calls=calls, **options)


def data(text: str, media: str = "text/plain") -> str:
    return f"data:{media};base64,{base64.b64encode(text.encode()).decode()}"


CASES: Final = (
    case(
        "in_str",
        given("a text", plain="hello"),
        given("an empty text", plain=""),
        given("not ASCII", plain="žluťoučký 🐎"),
        given("shortest", plain="p", short="ab"),
        given("longest", plain="p", short="abcd"),
        given("too short", plain="p", short="a"),
        given("too long", plain="p", short="abcde"),
        given("length in characters", plain="p", short="🐎🐎🐎🐎"),
        given("a pattern that fits", plain="p", pattern="z9"),
        given("a pattern that does not fit", plain="p", pattern="zz"),
        given("missing"),
        given("a number for a text", plain=5),
        given("null for a text", plain=None),
        given("a list for a text", plain=["a"]),
        given("an unknown field", plain="p", unknown=1),
        given("two that are wrong", plain=1, short="a"),
    ),
    case(
        "in_int",
        given("smallest", n=1),
        given("largest", n=10),
        given("too small", n=0),
        given("too large", n=11),
        given("a text for an int", n="2"),
        given("a fraction for an int", n=2.5),
        given("a bool for an int", n=True),
        given("null for an int", n=None),
        given("negative", n=1, free=-5),
        given("53 bits", n=1, free=2**53 - 1),
        given("missing"),
    ),
    case(
        "in_float",
        given("its default"),
        given("an int for a float", x=1),
        given("the lower bound", x=0.0),
        given("under it", x=-0.1),
        given("over the upper bound", x=1.1),
        given("a text for a float", x="0.5"),
        given("a bool for a float", x=True),
    ),
    case(
        "in_bool",
        given("true", wanted=True),
        given("false", wanted=False, other=False),
        given("a text for a bool", wanted="true"),
        given("a number for a bool", wanted=1),
        given("missing", other=False),
    ),
    case(
        "in_choices",
        given("one of them", style="oil"),
        given("a number", style="ink", size=512),
        given("none of them", style="chalk"),
        given("a number that is none", style="oil", size=1024),
        given("a number as a text", style="oil", size="512"),
        given("missing", size=256),
    ),
    case(
        "in_literal",
        given("one of them", style="oil"),
        given("all", style="ink", size=2, mood="calm", tone="high"),
        given("none of them", style="chalk"),
        given("a number that is none", style="oil", size=3),
        given("an optional one that is none", style="oil", mood="wild"),
        given("described, and none", style="oil", tone="mid"),
    ),
    case(
        "in_optional",
        given("left out"),
        given("given", a="x", b=3, c="y"),
        given("too small", b=-1),
        given("of the wrong type", a=1),
        given("null", ("null",), a=None),
        given("null where there is no default", ("null",), b=None),
        given("null for a default", ("null",), c=None),
    ),
    case(
        "in_union",
        given("the first", v=1),
        given("the second", v="1"),
        given("neither", v=[1]),
        given("a text", v=1, w="a"),
        given("a list", v=1, w=["a", "b"]),
        given("a list of the wrong type", v=1, w=[1]),
        given("missing"),
    ),
    case(
        "in_list",
        given("some", words=["a", "b"]),
        given("none", words=[]),
        given("all", words=["a"], numbers=[3], more=[1.5, 2]),
        given("of the wrong type", words=[1]),
        given("one wrong among right", words=["a"], numbers=[1, "2"]),
        given("null for an optional one", ("null",), words=[], more=None),
        given("not a list", words="a"),
        given("missing"),
    ),
    case(
        "in_dict",
        given("objects", a={"x": [1, {"y": None}]}, b={"n": 1}),
        given("anything", a={}, b={}, c=[1, "a", None, {"b": 2.5}]),
        given("not an object", a=[], b={}),
    ),
    case("in_unannotated", given("anything", x={"a": 1}), given("both", x="a", y=[3]), given("missing", y=1)),
    case("in_keyword_only", given("one", a=1), given("all", a=1, b="b", c=2), given("too large", a=1, c=3)),
    case(
        "in_pep563",
        given("words", words=["a", "b", "c"]),
        given("a limit", words=["a", "b", "c"], limit=2),
        given("a secret", words=["a"], key="k"),
        given("of the wrong type", words=["a"], limit="2"),
    ),
    case(
        "in_defaults",
        given("None is no default of a str"),
        given("the others", none="x"),
        given("one that is deprecated", none="x", flag=True),
    ),
    case(
        "in_path",
        given("a data: URL", file=data("inline")),
        given("not base64", file="data:text/plain,plain%20text"),
        given("its type", file=data("inline"), show="type"),
        given("its suffix", file=data("{}", "application/json"), show="suffix"),
        given("an unknown media type", file=data("x", "application/x-unheard-of"), show="suffix"),
        given("http", file="{web}/note.txt"),
        given("a suffix from http", file="{web}/photo.png", show="suffix"),
        given("a query", file="{web}/note.txt?size=3"),
        given("an escaped name", file="{web}/two%20words.txt"),
        given("no suffix", file="{web}/bare", show="suffix"),
        given("a redirect", file="{web}/elsewhere.txt"),
        given("300 kB", file="{web}/large.bin", show="size"),
        given("not there", ("tidy",), own_words=True, file="{web}/missing.txt"),
        given("nobody answers", ("tidy",), own_words=True, file="http://127.0.0.1:9/x"),
        given("a bare path", ("strict",), own_words=True, file="/etc/hostname"),
        given("a number", file=5),
        given("missing"),
    ),
    case(
        "in_paths",
        given("two", files=["{web}/note.txt", data("two")]),
        given("none", files=[]),
        given("an optional one", files=[], mask=data("mask")),
        given("one is not there", ("tidy",), own_words=True, files=[data("one"), "{web}/missing.txt"]),
        given("not a list", files=data("one")),
    ),
    case("in_file", given("a data: URL", file=data("inline")), given("http", file="{web}/note.txt")),
    case(
        "in_secret",
        given("masked", key="hush"),
        given("an optional one", key="hush", other="secret", third="x"),
        given("a number", key=5),
        given("missing"),
    ),
    case("in_opaque", given("an object", config={"b": 1, "a": [2]}), given("no object", config=[1])),
    case("in_path", given("a private address", ("guarded",), file="{web}/note.txt"), limits={"private": False}),
    case("in_path", given("too large", ("guarded",), file="{web}/large.bin"), limits={"bytes": 1000}),
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
