"""The output of a training: the weights a runner stored and the version they make."""

from typing import Any, Final, cast

from msgspec import DecodeError, Raw, json, structs

from schemas.models import Manifest, Trained, decode_trained
from schemas.prediction import Prediction, Status

MARK: Final = "file:"


def manifest_of(p: Prediction) -> Manifest | None:
    """Of the version that comes of a training; None if its runner's answer does not speak of one."""
    trained = answer(p)
    if trained is None or p.destination is None:
        return None
    owner, _, name = p.destination.partition("/")
    return Manifest(owner=owner, name=name, base=p.version, weights=trained.weights)


def answer(p: Prediction) -> Trained | None:
    """What a runner said, with the key of the weights as it is."""
    try:
        trained = decode_trained(bytes(p.output or b""))
    except (DecodeError, ValueError):
        return None
    key = trained.weights.key.removeprefix(MARK)
    if key not in p.files:
        return None
    return structs.replace(trained, weights=structs.replace(trained.weights, key=key))


def output_of(p: Prediction, url: str) -> Raw | None:
    """As clients see it: `version` and `weights`, and whatever else `train` returned."""
    manifest, trained = manifest_of(p), answer(p)
    if manifest is None or trained is None or p.status is not Status.SUCCEEDED:
        return None
    returned = json.decode(bytes(trained.output))
    others = cast("dict[str, Any]", returned) if isinstance(returned, dict) else {}
    return Raw(json.encode({**others, "version": f"{p.destination}:{manifest.version}", "weights": url}))
