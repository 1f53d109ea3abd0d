"""What the inputs that part a predictor's batches are when they are left out."""

from msgspec import json

from ..cog.input import MISSING
from .loader import Predictor
from .signature import Parameter


def left_out(predictor: Predictor) -> dict[str, bytes]:
    """As `Ready` has them: JSON, and nothing where there is none."""
    parameters = {parameter.name: parameter for parameter in predictor.signature.parameters}
    return {name: _default(parameters[name]) for name in predictor.batch_by}


def _default(parameter: Parameter) -> bytes:
    if parameter.required:
        return b""
    if parameter.field.default is MISSING:
        return b"null"
    from .defaults import json_of  # a part of a worker's start that most predictors do without
    from .type_schemas import Untellable

    try:
        return json.encode(json_of(parameter.field.default))
    except Untellable:
        return b""
