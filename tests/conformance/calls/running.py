"""How it runs: loading, set-up, failures, logs, streams, concurrency, health, cancels, and how it ends."""

from typing import Any, Final

from tests.conformance.calls.inputs import case, predict
from tests.conformance.outcome import Call


def canceled(name: str, *better: str, **input: Any) -> Call:
    return Call(name=name, input={"marks": "{marks}", **input}, cancel=True, better=better)


def fails(name: str, better: str = "logs kept", **input: Any) -> Call:
    return predict(name, better=(better,), **input)


SETUP: Final = Call(name="its set-up", kind="setup")
BROKEN_SETUP: Final = Call(name="its set-up", kind="setup", may_differ_in_wording=True)
LOST_SETUP: Final = Call(name="its set-up", kind="setup", may_differ_in_wording=True, better=("logs kept",))
STREAM: Final = {"gate": "{gate}"}

CASES: Final = (
    case("plain_class", SETUP, predict("runs"), predict("an input", more="!")),
    case("plain_function", predict("runs", text="a"), predict("all", text="a", times=3), ref="predict.py:predict"),
    case("async_function", predict("runs", text="a"), ref="predict.py:predict"),
    case("runner_class", SETUP, predict("runs", text="you"), ref="predict.py:Runner"),
    case("default_ref", predict("Runner before Predictor"), ref="predict.py"),
    case("default_ref_predictor", predict("Predictor"), ref="predict.py"),
    case("both_methods", BROKEN_SETUP),
    case("no_method", BROKEN_SETUP),
    case("inherited", predict("runs", n=2)),
    case("own_modules", predict("its own come first")),
    case("own_files", predict("beside it")),
    case("environment", predict("from cog.yaml")),
    case("setup_log", SETUP, predict("its own log")),
    case("setup_raises", LOST_SETUP, Call(name="a prediction", may_differ_in_wording=True)),
    case("setup_exits", LOST_SETUP),
    case("import_fails", LOST_SETUP),
    case("async_setup", SETUP, predict("runs")),
    case("weights", predict("COG_WEIGHTS is a URL")),
    case("weights_text", predict("COG_WEIGHTS is a path")),
    case("weights_none", predict("no COG_WEIGHTS")),
    case(
        "errors",
        predict("none", how=""),
        *(
            fails(how, how=how)
            for how in ("text", "no text", "key", "lines", "chained", "group", "assert", "unicode", "base")
        ),
        Call(name="sys.exit", input={"how": "sys.exit"}, may_differ_in_wording=True, better=("logs kept",)),
        Call(
            name="an output that is none",
            input={"how": "wrong type"},
            may_differ_in_wording=True,
            better=("logs kept",),
        ),
        predict("and after them all", how=""),
    ),
    case(
        "errors_async",
        predict("none", how=""),
        fails("text", how="text"),
        Call(name="a timeout of its own", input={"how": "timeout"}, better=("logs kept",)),
        predict("and after them all", how=""),
    ),
    case(
        "errors_async",
        Call(name="sys.exit", input={"how": "sys.exit"}, better=("replaced",)),
        Call(name="after sys.exit", input={"how": ""}, better=("replaced",)),
        patience=2.0,
    ),
    case(
        "crash",
        predict("none"),
        Call(name="os._exit", input={"how": "exit"}, may_differ_in_wording=True),
        predict("after os._exit", better=("replaced",)),
    ),
    case(
        "crash",
        Call(name="killed", input={"how": "signal"}, may_differ_in_wording=True),
        predict("after it was killed", better=("replaced",)),
    ),
    case(
        "logs",
        *(
            predict(how, how=how)
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
        predict("subprocess", better=("all logs",), how="subprocess"),
        predict("native", better=("all logs",), how="native"),
        predict("no newline", better=("all logs",), how="no newline"),
    ),
    case("streaming_sync", Call(name="streams live", input=STREAM, stream=True)),
    case("streaming_async", Call(name="streams live", input=STREAM, stream=True, better=("live",))),
    case("concurrent", Call(name="two at once", input={"name": "a"}, beside=({"name": "b"},))),
    case("concurrent_sync", LOST_SETUP),
    case("healthy", Call(name="after set-up", kind="health"), predict("runs"), Call(name="after it", kind="health")),
    case(
        "unhealthy",
        Call(name="after set-up", kind="health"),
        predict("runs"),
        Call(name="says False", kind="health", may_differ_in_wording=True),
    ),
    case(
        "health_raises",
        Call(name="after set-up", kind="health"),
        predict("runs"),
        Call(name="raises", kind="health", may_differ_in_wording=True),
    ),
    case(
        "cancel_sync",
        predict("not canceled", marks="{marks}"),
        canceled("a busy loop", "logs kept", how="busy"),
        canceled("time.sleep", "interrupts", "logs kept", how="sleep"),
        canceled("subprocess.run", "interrupts", "logs kept", how="subprocess"),
        predict("and after them all", marks="{marks}"),
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
        "grandchild", SETUP, predict("runs"), Call(name="its child, when it is stopped", kind="stop", better=("group",))
    ),
)
