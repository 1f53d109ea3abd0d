"""What a measurement asks for: models, their inputs from options and files, and the requests that these make."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from msgspec import DecodeError, Raw, json

from benchmarks.samples import Request
from deploy.cli.client.api import Api
from deploy.cli.client.inputs import inputs
from deploy.cli.commands.run import Model, find, sent
from deploy.errors import Unusable

Input = dict[str, Any]

OWN: Final = {"model", "input"}
"""A line with these, and no others, is for that model alone."""


def of_models(api: Api, names: Sequence[str], given: Sequence[str], lines: Sequence[Input]) -> list[Request]:
    """Each model with each input, in turns: the first inputs of all, then the second ones, …"""
    named = {line["model"]: None for line in lines if _own(line)}
    models = {name: find(api, name) for name in dict.fromkeys([*names, *named])}
    if not models:
        raise Unusable("name a model: samovar bench run owner/name")
    typed = _typed(api, models, given)
    each = [_of_one(model, name in names, typed[name], lines) for name, model in models.items()]
    return [request for turn in zip_longest(*each) for request in turn if request is not None]


def of_address(url: str, given: Sequence[str], lines: Sequence[Input]) -> list[Request]:
    """For a server that is no Samovar: what is sent is the input itself."""
    typed = inputs(given, {})
    path = urlsplit(url)._replace(scheme="", netloc="").geturl() or "/"
    return [Request(path=path, body=_raw({**line, **typed})) for line in lines or [{}]]


def read(path: Path) -> list[Input]:
    """A JSON object, or one a line. Raises `Unusable`."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror or error}") from None
    try:
        return [json.decode(text, type=Input)]
    except DecodeError:
        return list(_lines(path, text.splitlines())) or _empty(path)


def _lines(path: Path, lines: Iterable[bytes]) -> Iterator[Input]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield json.decode(line, type=Input)
        except DecodeError as error:
            raise Unusable(f"{path}, line {number}: a JSON object was expected: {error}") from None


def _empty(path: Path) -> list[Input]:
    raise Unusable(f"{path}: there are no inputs in it")


def _typed(api: Api, models: Mapping[str, Model], given: Sequence[str]) -> dict[str, Input]:
    """By each model's schema. Of several models each gets those that it has."""
    if len(models) == 1:
        return {name: inputs(given, model.document, partial(sent, api)) for name, model in models.items()}
    fitting = {name: _fitting(model, given) for name, model in models.items()}
    for pair in given:
        if not any(pair in pairs for pairs in fitting.values()):
            raise Unusable(f"-i {pair}: none of the models has such an input")
    return {name: inputs(fitting[name], model.document, partial(sent, api)) for name, model in models.items()}


def _fitting(model: Model, given: Sequence[str]) -> list[str]:
    schemas = model.document.get("components", {}).get("schemas", {})
    names = set(schemas.get("Input", {}).get("properties", {}))
    return [pair for pair in given if pair.partition("=")[0] in names]


def _of_one(model: Model, asked: bool, typed: Input, lines: Sequence[Input]) -> list[Request]:
    own = [line["input"] for line in lines if _own(line) and line["model"] == model.ref]
    common = [line for line in lines if not _own(line)] if asked else []
    return [_request(model, {**line, **typed}) for line in [*own, *common] or [{}]]


def _request(model: Model, input: Input) -> Request:
    if model.version:
        body = _raw({"version": f"{model.ref}:{model.version}", "input": input})
        return Request(path="/v1/predictions", body=body, model=model.ref)
    return Request(path=f"/v1/models/{model.ref}/predictions", body=_raw({"input": input}), model=model.ref)


def _own(line: Input) -> bool:
    return line.keys() == OWN and isinstance(line["input"], dict)


def _raw(value: Input) -> Raw:
    return Raw(json.encode(value))
