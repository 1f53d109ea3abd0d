"""The predictor of RIVAL_MODEL behind an `async` method: only then does coglet run several predictions at once."""

import inspect
from collections.abc import AsyncIterator
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any, Final

import cog

from benchmarks.rivals.model import is_streaming, model_folder


def load_predictor_class() -> Any:
    """Import the predictor's class."""
    spec = spec_from_file_location("predict", model_folder() / "predict.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Predictor


Original: Final = load_predictor_class()
DEFAULTS: Final = {
    name: each.default.default
    for name, each in inspect.signature(Original.predict).parameters.items()
    if hasattr(each.default, "default")
}
"""The defaults of inputs; a wrapped method gets their descriptions instead."""


async def predict_once(self: Any, **inputs: Any) -> Any:
    """Return the output of one input."""
    return Original.predict(self, **add_defaults(inputs))


async def predict_pieces(self: Any, **inputs: Any) -> AsyncIterator[str]:
    """Yield the pieces of an output."""
    for piece in Original.predict(self, **add_defaults(inputs)):
        yield piece


def add_defaults(inputs: dict[str, Any]) -> dict[str, Any]:
    """Return the inputs with defaults for those that are missing."""
    return DEFAULTS | {name: value for name, value in inputs.items() if not hasattr(value, "default")}


def with_signature(function: Any, returned: Any) -> Any:
    """Give a function the inputs of the original, which coglet reads from the signature."""
    signature = inspect.signature(Original.predict)
    function.__signature__ = signature.replace(return_annotation=returned)
    function.__annotations__ = {**Original.predict.__annotations__, "return": returned}
    return function


class Predictor(Original):
    """The predictor that coglet serves."""

    predict = (
        cog.streaming(with_signature(predict_pieces, AsyncIterator[str]))  # docs/python, "Streaming output"
        if is_streaming()
        else with_signature(predict_once, Original.predict.__annotations__["return"])
    )
