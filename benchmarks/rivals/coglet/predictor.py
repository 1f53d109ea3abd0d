"""The predictor of RIVAL_MODEL, unchanged, behind an `async` method: only then does coglet take several at once."""

import inspect
from collections.abc import AsyncIterator
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any, Final

import cog

from benchmarks.rivals.model import folder, streamed


def loaded() -> Any:
    spec = spec_from_file_location("predict", folder() / "predict.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Predictor


Original: Final = loaded()
DEFAULTS: Final = {
    name: each.default.default
    for name, each in inspect.signature(Original.predict).parameters.items()
    if hasattr(each.default, "default")
}
"""A wrapped method gets its descriptions of inputs in the place of their defaults."""


async def one(self: Any, **inputs: Any) -> Any:
    return Original.predict(self, **complete(inputs))


async def pieces(self: Any, **inputs: Any) -> AsyncIterator[str]:
    for piece in Original.predict(self, **complete(inputs)):
        yield piece


def complete(inputs: dict[str, Any]) -> dict[str, Any]:
    return DEFAULTS | {name: value for name, value in inputs.items() if not hasattr(value, "default")}


def like(function: Any, returned: Any) -> Any:
    """With the inputs of the original, which coglet reads from the signature."""
    signature = inspect.signature(Original.predict)
    function.__signature__ = signature.replace(return_annotation=returned)
    function.__annotations__ = {**Original.predict.__annotations__, "return": returned}
    return function


class Predictor(Original):
    predict = (
        cog.streaming(like(pieces, AsyncIterator[str]))  # docs/python, "Streaming output"
        if streamed()
        else like(one, Original.predict.__annotations__["return"])
    )
