"""The defaults of the inputs that have to be equal within a batch."""

from msgspec import json

from ..cog.input import MISSING
from .loader import Predictor
from .signature import Parameter


def batch_defaults(predictor: Predictor) -> dict[str, bytes]:
    """Return the defaults as `Ready.batch_by` has them: as JSON, and empty where there is none."""
    parameters = {parameter.name: parameter for parameter in predictor.signature.parameters}
    return {name: _default(parameters[name]) for name in predictor.batch_by}


def _default(parameter: Parameter) -> bytes:
    if parameter.required:
        return b""
    if parameter.field.default is MISSING:
        return b"null"
    from .defaults import to_json  # a part of a worker's start that most predictors do without
    from .type_schemas import SchemaError

    try:
        return json.encode(to_json(parameter.field.default))
    except SchemaError:
        return b""
