"""The requests of a measurement, from models and from inputs in options and files."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from msgspec import DecodeError, Raw, json

from benchmarks.samples import Request
from deploy.cli.client.api import Api
from deploy.cli.client.inputs import file_encoder, parse_inputs
from deploy.cli.client.models import ModelSchema, load_schema
from deploy.errors import UsageError

Input = dict[str, Any]

OWN_FIELDS: Final = {"model", "input"}
"""A line with exactly these fields is for that model alone."""


def model_requests(api: Api, names: Sequence[str], pairs: Sequence[str], lines: Sequence[Input]) -> list[Request]:
    """Return a request for each model and input, in turns: the first inputs of all models, then the second ones."""
    named_models = {line["model"]: None for line in lines if _is_for_one_model(line)}
    models = {name: load_schema(api, name) for name in dict.fromkeys([*names, *named_models])}
    if not models:
        raise UsageError("Name a model: samovar bench run owner/name")
    typed = _parse_typed(api, models, pairs)
    each = [_requests_of_model(model, name in names, typed[name], lines) for name, model in models.items()]
    return [request for turn in zip_longest(*each) for request in turn if request is not None]


def address_requests(url: str, pairs: Sequence[str], lines: Sequence[Input]) -> list[Request]:
    """Return requests for a server other than Samovar, whose bodies are the inputs themselves."""
    typed = parse_inputs(pairs, {})
    path = urlsplit(url)._replace(scheme="", netloc="").geturl() or "/"
    return [Request(path=path, body=_encode({**line, **typed})) for line in lines or [{}]]


def read_inputs(path: Path) -> list[Input]:
    """Read a file with a JSON object, or with one a line.

    Raises `UsageError`.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None
    try:
        return [json.decode(text, type=Input)]
    except DecodeError:
        return list(_lines(path, text.splitlines())) or _refuse_empty(path)


def _lines(path: Path, lines: Iterable[bytes]) -> Iterator[Input]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield json.decode(line, type=Input)
        except DecodeError as error:
            raise UsageError(f"{path}, line {number}: not a JSON object: {error}") from None


def _refuse_empty(path: Path) -> list[Input]:
    raise UsageError(f"{path}: the file has no inputs")


def _parse_typed(api: Api, models: Mapping[str, ModelSchema], pairs: Sequence[str]) -> dict[str, Input]:
    """Parse inputs by each model's schema; each of several models gets those that it has."""
    if len(models) == 1:
        return {name: parse_inputs(pairs, model.document, file_encoder(api)) for name, model in models.items()}
    pairs_by_model = {name: _pairs_for(model, pairs) for name, model in models.items()}
    for pair in pairs:
        if not any(pair in pairs for pairs in pairs_by_model.values()):
            raise UsageError(f"-i {pair}: none of the models has such an input")
    return {
        name: parse_inputs(pairs_by_model[name], model.document, file_encoder(api)) for name, model in models.items()
    }


def _pairs_for(model: ModelSchema, pairs: Sequence[str]) -> list[str]:
    schemas = model.document.get("components", {}).get("schemas", {})
    names = set(schemas.get("Input", {}).get("properties", {}))
    return [pair for pair in pairs if pair.partition("=")[0] in names]


def _requests_of_model(model: ModelSchema, is_named: bool, typed: Input, lines: Sequence[Input]) -> list[Request]:
    own = [line["input"] for line in lines if _is_for_one_model(line) and line["model"] == model.name]
    common = [line for line in lines if not _is_for_one_model(line)] if is_named else []
    return [_request(model, {**line, **typed}) for line in [*own, *common] or [{}]]


def _request(model: ModelSchema, input: Input) -> Request:
    if model.version:
        body = _encode({"version": f"{model.name}:{model.version}", "input": input})
        return Request(path="/v1/predictions", body=body, model=model.name)
    return Request(path=f"/v1/models/{model.name}/predictions", body=_encode({"input": input}), model=model.name)


def _is_for_one_model(line: Input) -> bool:
    return line.keys() == OWN_FIELDS and isinstance(line["input"], dict)


def _encode(value: Input) -> Raw:
    return Raw(json.encode(value))
