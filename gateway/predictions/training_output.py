"""The output of a training: the weights a runner stored and the version they make."""

from typing import Any, Final, cast

from msgspec import DecodeError, Raw, json, structs

from schemas.models import Manifest, TrainingResult, decode_training_result
from schemas.prediction import Prediction, Status

FILE_PREFIX: Final = "file:"


def trained_manifest(p: Prediction) -> Manifest | None:
    """Build the manifest of the version that a training made; None if its runner's answer names no weights."""
    result = parse_result(p)
    if result is None or p.destination is None:
        return None
    owner, _, name = p.destination.partition("/")
    return Manifest(owner=owner, name=name, base=p.version, weights=result.weights)


def parse_result(p: Prediction) -> TrainingResult | None:
    """Parse a runner's answer, with the key of the weights in the file store; None if it is none."""
    try:
        result = decode_training_result(bytes(p.output or b""))
    except (DecodeError, ValueError):
        return None
    key = result.weights.key.removeprefix(FILE_PREFIX)
    if key not in p.files:
        return None
    return structs.replace(result, weights=structs.replace(result.weights, key=key))


def public_output(p: Prediction, url: str) -> Raw | None:
    """Build the output that clients see: `version` and `weights`, and whatever else `train` returned."""
    manifest, result = trained_manifest(p), parse_result(p)
    if manifest is None or result is None or p.status is not Status.SUCCEEDED:
        return None
    returned = json.decode(bytes(result.output))
    others = cast("dict[str, Any]", returned) if isinstance(returned, dict) else {}
    return Raw(json.encode({**others, "version": f"{p.destination}:{manifest.version}", "weights": url}))
