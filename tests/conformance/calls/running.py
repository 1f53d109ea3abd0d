"""How it runs: loading, set-up, failures, logs, streams, concurrency, health, cancels, and how it ends."""

from typing import Any, Final

from tests.conformance.calls.inputs import case, given
from tests.conformance.outcome import Call


def canceled(name: str, *better: str, **input: Any) -> Call:
    return Call(name=name, input={"marks": "{marks}", **input}, cancel=True, better=better)


def fails(name: str, better: str = "logs kept", **input: Any) -> Call:
    return given(name, better=(better,), **input)


SETUP: Final = Call(name="its set-up", kind="setup")
BROKEN_SETUP: Final = Call(name="its set-up", kind="setup", own_words=True)
LOST_SETUP: Final = Call(name="its set-up", kind="setup", own_words=True, better=("logs kept",))
STREAM: Final = {"gate": "{gate}"}

CASES: Final = (
    case("plain_class", SETUP, given("runs"), given("an input", more="!")),
    case("plain_function", given("runs", text="a"), given("all", text="a", times=3), ref="predict.py:predict"),
    case("async_function", given("runs", text="a"), ref="predict.py:predict"),
    case("runner_class", SETUP, given("runs", text="you"), ref="predict.py:Runner"),
    case("default_ref", given("Runner before Predictor"), ref="predict.py"),
    case("default_ref_predictor", given("Predictor"), ref="predict.py"),
    case("both_methods", BROKEN_SETUP),
    case("no_method", BROKEN_SETUP),
    case("inherited", given("runs", n=2)),
    case("own_modules", given("its own come first")),
    case("own_files", given("beside it")),
    case("environment", given("from cog.yaml")),
    case("setup_log", SETUP, given("its own log")),
    case("setup_raises", LOST_SETUP, Call(name="a prediction", own_words=True)),
    case("setup_exits", LOST_SETUP),
    case("import_fails", LOST_SETUP),
    case("async_setup", SETUP, given("runs")),
    case("weights", given("COG_WEIGHTS is a URL")),
    case("weights_text", given("COG_WEIGHTS is a path")),
    case("weights_none", given("no COG_WEIGHTS")),
    case(
        "errors",
        given("none", how=""),
        *(
            fails(how, how=how)
            for how in ("text", "no text", "key", "lines", "chained", "group", "assert", "unicode", "base")
        ),
        Call(name="sys.exit", input={"how": "sys.exit"}, own_words=True, better=("logs kept",)),
        Call(name="an output that is none", input={"how": "wrong type"}, own_words=True, better=("logs kept",)),
        given("and after them all", how=""),
    ),
    case(
        "errors_async",
        given("none", how=""),
        fails("text", how="text"),
        Call(name="a timeout of its own", input={"how": "timeout"}, better=("logs kept",)),
        given("and after them all", how=""),
    ),
    case(
        "errors_async",
        Call(name="sys.exit", input={"how": "sys.exit"}, better=("replaced",)),
        Call(name="after sys.exit", input={"how": ""}, better=("replaced",)),
        patience=2.0,
    ),
    case(
        "crash",
        given("none"),
        Call(name="os._exit", input={"how": "exit"}, own_words=True),
        given("after os._exit", better=("replaced",)),
    ),
    case(
        "crash",
        Call(name="killed", input={"how": "signal"}, own_words=True),
        given("after it was killed", better=("replaced",)),
    ),
    case(
        "logs",
        *(
            given(how, how=how)
            for how in (
                "print",
                "logging",
                "thread",
                "redirected",
                "unicode",
                "carriage",
                "much",
                "isatty",
            )
        ),
        given("subprocess", better=("all logs",), how="subprocess"),
        given("native", better=("all logs",), how="native"),
        given("no newline", better=("all logs",), how="no newline"),
    ),
    case("streaming_sync", Call(name="streams live", input=STREAM, stream=True)),
    case("streaming_async", Call(name="streams live", input=STREAM, stream=True, better=("live",))),
    case("concurrent", Call(name="two at once", input={"name": "a"}, beside=({"name": "b"},))),
    case("concurrent_sync", LOST_SETUP),
    case("healthy", Call(name="after set-up", kind="health"), given("runs"), Call(name="after it", kind="health")),
    case(
        "unhealthy",
        Call(name="after set-up", kind="health"),
        given("runs"),
        Call(name="says False", kind="health", own_words=True),
    ),
    case(
        "health_raises",
        Call(name="after set-up", kind="health"),
        given("runs"),
        Call(name="raises", kind="health", own_words=True),
    ),
    case(
        "cancel_sync",
        given("not canceled", marks="{marks}"),
        canceled("a busy loop", "logs kept", how="busy"),
        canceled("time.sleep", "interrupts", "logs kept", how="sleep"),
        canceled("subprocess.run", "interrupts", "logs kept", how="subprocess"),
        given("and after them all", marks="{marks}"),
    ),
    case(
        "cancel_translated",
        canceled("raises another error", "logs kept", how="raises another"),
        canceled("swallowed", how="swallow"),
    ),
    case("cancel_generator", canceled("between two values", "logs kept")),
    case("cancel_async", canceled("awaiting", "logs kept")),
    case("cancel_async_generator", canceled("between two values")),
    case(
        "grandchild", SETUP, given("runs"), Call(name="its child, when it is stopped", kind="stop", better=("group",))
    ),
)
