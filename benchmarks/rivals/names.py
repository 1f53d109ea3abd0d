"""Who the rivals are: how each is asked, what it cannot do, and what it needs to be told when it starts."""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import DecodeError, Struct, json

from benchmarks.rivals.model import BATCH

Input = dict[str, Any]


class Rival(Struct, frozen=True, kw_only=True):
    title: str
    path: str
    """Where predictions are asked for."""
    environ: Mapping[str, str] = {}
    """Beside what all get; `{port}` and `{folder}` stand for those of the run."""
    wraps: str | None = None
    """Of JSON: the name that an input is sent under."""
    lists: tuple[str, ...] = ()
    """Predictors that it batches by taking a list from each client."""
    answers: str | None = None
    """Of JSON: the name that an output comes back under."""

    cannot: Mapping[str, str] = {}
    """Predictors that it cannot serve, and why."""

    def body(self, predictor: str, input: Input) -> bytes:
        if predictor in self.lists:
            return json.encode({"inputs": [input]})
        return json.encode({self.wraps: input} if self.wraps else input)

    def output(self, predictor: str, content: bytes) -> Any:
        """What the predictor returned."""
        try:
            said = json.decode(content)
        except DecodeError:
            return content.decode()  # BentoML sends a string as it is
        if predictor in self.lists:
            return said[0]
        return said[self.answers] if self.answers else said


RIVALS: Final[Mapping[str, Rival]] = {
    "litserve": Rival(title="LitServe", path="/predict"),
    "mosec": Rival(
        title="Mosec",
        path="/inference",
        # reference/arguments: the 3 s that it gives a request by itself are too few for 100 streams in a queue.
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
        lists=("minilm",),
    ),
    "ray": Rival(title="Ray Serve", path="/", environ={"RAY_USAGE_STATS_ENABLED": "0", "RAY_TMPDIR": "{folder}"}),
    "coglet": Rival(
        title="coglet",
        path="/predictions",
        # docs/environment: how many run at once, for `async` predictors; who comes while all are taken is sent away.
        environ={"COG_MAX_CONCURRENCY": str(4 * BATCH), "COG_LOG_LEVEL": "warn"},
        wraps="input",
        answers="output",
    ),
}
NAMES: Final = tuple(RIVALS)
