"""The rivals: how to send each a prediction, what it cannot serve, and its environment."""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import DecodeError, Struct, json

from benchmarks.rivals.model import BATCH

Input = dict[str, Any]


class Rival(Struct, frozen=True, kw_only=True):
    """A rival: how it takes an input and returns an output."""

    title: str
    path: str
    """The path for predictions."""
    environ: Mapping[str, str] = {}
    """Environment variables beside those of all rivals; `{port}` and `{folder}` stand for those of the run."""
    input_field: str | None = None
    """The field of the JSON body that holds the input; None for the whole body."""
    list_predictors: tuple[str, ...] = ()
    """Predictors for which it takes a list from each client, to batch them."""
    output_field: str | None = None
    """The field of the JSON answer that holds the output; None for the whole answer."""

    unsupported: Mapping[str, str] = {}
    """Predictors that it cannot serve, and why."""

    def body(self, predictor: str, input: Input) -> bytes:
        """Return the body of a request."""
        if predictor in self.list_predictors:
            return json.encode({"inputs": [input]})
        return json.encode({self.input_field: input} if self.input_field else input)

    def output(self, predictor: str, content: bytes) -> Any:
        """Return what the predictor returned."""
        try:
            value = json.decode(content)
        except DecodeError:
            return content.decode()  # BentoML sends a string as it is
        if predictor in self.list_predictors:
            return value[0]
        return value[self.output_field] if self.output_field else value


RIVALS: Final[Mapping[str, Rival]] = {
    "litserve": Rival(title="LitServe", path="/predict"),
    "mosec": Rival(
        title="Mosec",
        path="/inference",
        # reference/arguments: its default of 3 s for a request is too short for 100 streams in a queue.
        environ={
            "MOSEC_ADDRESS": "127.0.0.1",
            "MOSEC_PORT": "{port}",
            "MOSEC_LOG_LEVEL": "warning",
            "MOSEC_TIMEOUT": "60000",
        },
    ),
    "bentoml": Rival(
        title="BentoML",
        path="/predict",
        environ={"BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": "{folder}"},
        list_predictors=("minilm",),
    ),
    "ray": Rival(title="Ray Serve", path="/", environ={"RAY_USAGE_STATS_ENABLED": "0", "RAY_TMPDIR": "{folder}"}),
    "coglet": Rival(
        title="coglet",
        path="/predictions",
        # docs/environment: how many run at once, for `async` predictors; further requests are refused.
        environ={"COG_MAX_CONCURRENCY": str(4 * BATCH), "COG_LOG_LEVEL": "warn"},
        input_field="input",
        output_field="output",
    ),
}
NAMES: Final = tuple(RIVALS)
