"""The content of a cog.yaml, validated; errors name the line they are about."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from msgspec import Struct, ValidationError, convert

from runners.errors import BadFolder

FILE_NAME: Final = "cog.yaml"
MAX_BYTES: Final = 1_000_000  # bytes
DEFAULT_REF: Final = "predict.py:Predictor"

_KeyLines = dict[tuple[str | int, ...], int]


class Step(Struct, frozen=True, forbid_unknown_fields=True):
    """A command of `build.run`, in its long form."""

    command: str
    mounts: list[dict[str, str]] | None = None


class Build(Struct, frozen=True, forbid_unknown_fields=True):
    """The section `build`."""

    cuda: str | int | None = None
    cudnn: str | int | None = None
    gpu: bool | None = None
    python_version: str | int | None = None
    python_packages: list[str] | None = None
    pre_install: list[str] | None = None
    python_requirements: str | None = None
    system_packages: list[str] | None = None
    sdk_version: str | None = None
    run: list[str | Step] | None = None


class Concurrency(Struct, frozen=True, forbid_unknown_fields=True):
    """The section `concurrency`."""

    max: int | None = None
    default_target: int | None = None


class CogYaml(Struct, frozen=True, forbid_unknown_fields=True):
    """The fields of a cog.yaml."""

    build: Build | None = None
    image: str | None = None
    model: Any = None
    run: str | None = None
    predict: str | None = None
    train: str | None = None
    concurrency: Concurrency | None = None
    environment: list[str] | None = None
    weights: Any = None
    observability: Any = None


class ParsedCogYaml(Struct, frozen=True):
    """A cog.yaml, and the lines of its keys."""

    file: Path
    config: CogYaml
    lines: dict[str, int]
    """Line numbers by key: `predict`, `build.run[0]`."""

    def error_at(self, key: str, reason: str) -> BadFolder:
        """Return an error about the value of `key`."""
        return _bad_folder(self.file, self.lines.get(key), f"{key} {reason}")


def add_environment(text: str, variables: Mapping[str, str]) -> str:
    """Return a cog.yaml with these variables in its `environment`; other lines stay in place if it had none."""
    lines = [f"{name}={value}" for name, value in variables.items()]
    content: dict[str, Any] = yaml.safe_load(text) or {}
    if not content.get("environment"):
        content.pop("environment", None)
        rest = text if "environment:" not in text else yaml.safe_dump(content, sort_keys=False)
        return rest.rstrip("\n") + "\n" + yaml.safe_dump({"environment": lines}, sort_keys=False)
    others = [line for line in content["environment"] if str(line).partition("=")[0] not in variables]
    return yaml.safe_dump(content | {"environment": others + lines}, sort_keys=False)


def read(file: Path) -> ParsedCogYaml:
    """Read and validate a cog.yaml. Raises `BadFolder`."""
    node = _parse(file)
    if not isinstance(node, yaml.MappingNode):
        raise _bad_folder(file, 1, f'it must hold a mapping, such as predict: "{DEFAULT_REF}"')
    lines = _key_lines(file, node)
    try:
        value = _Loader("").construct_document(node)
        config = convert(value, CogYaml)
    except yaml.MarkedYAMLError as error:
        raise _bad_folder(file, _error_line(error), _error_reason(error)) from error
    except ValidationError as error:
        raise _validation_error(file, lines, error) from None
    except (ValueError, RecursionError) as error:
        raise _bad_folder(file, node.start_mark.line + 1, str(error)) from error
    return _check_values(ParsedCogYaml(file, config, {_dotted(path): line for path, line in lines.items()}))


class _Loader(yaml.SafeLoader):
    """A loader that keeps numbers with a point, and dates, as strings: python 3.10 would be read as 3.1."""

    yaml_implicit_resolvers = {  # noqa: RUF012  its base class declares it so
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":float", ":timestamp"))]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        # Nested merges could grow without bounds.
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(None, None, "merge keys are not allowed here", key.start_mark)


def _parse(file: Path) -> yaml.Node | None:
    try:
        if file.exists() and not file.is_file():
            raise _bad_folder(file, None, "this is not a file")
        with file.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise _bad_folder(file, None, f"it is larger than {MAX_BYTES} bytes")
        return _Loader(content.decode()).get_single_node()
    except FileNotFoundError:
        raise _bad_folder(file, None, "there is no such file; a model's folder needs one") from None
    except yaml.MarkedYAMLError as error:
        raise _bad_folder(file, _error_line(error), _error_reason(error)) from error
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise _bad_folder(file, None, " ".join(str(error).split())) from error


def _key_lines(file: Path, root: yaml.MappingNode) -> _KeyLines:
    """Return the line of every key and item, three levels deep. A key that is there twice raises `BadFolder`."""
    lines: _KeyLines = {}

    def visit(path: tuple[str | int, ...], node: yaml.Node) -> None:
        if len(path) > 3:
            return
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                place = (*path, str(key.value))
                line = key.start_mark.line + 1
                if place in lines:
                    raise _bad_folder(file, line, f"{_dotted(place)} is defined twice; remove one of them")
                lines[place] = line
                visit(place, value)
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                lines[(*path, index)] = item.start_mark.line + 1
                visit((*path, index), item)

    visit((), root)
    return lines


def _check_values(parsed: ParsedCogYaml) -> ParsedCogYaml:
    """Check the values further than their types can say."""
    config = parsed.config
    for index, line in enumerate(config.environment or []):
        name, equals, _ = line.partition("=")
        if not name or not equals or "\0" in line:
            raise parsed.error_at(f"environment[{index}]", f'{name!r} is not of the form "NAME=value"')
    if config.concurrency is not None and config.concurrency.max is not None and config.concurrency.max < 1:
        raise parsed.error_at("concurrency.max", "must be at least 1")
    build = config.build or Build()
    if build.python_version is not None and not re.fullmatch(r"\d+\.\d+(\.\d+)?", str(build.python_version)):
        raise parsed.error_at("build.python_version", f'must be like "3.11", not {str(build.python_version)!r}')
    if build.python_packages and build.python_requirements:
        raise parsed.error_at("build.python_packages", "cannot be combined with python_requirements; keep the latter")
    return parsed


def _validation_error(file: Path, lines: _KeyLines, error: ValidationError) -> BadFolder:
    """Translate msgspec's error, with the name and the line of the key that it is about."""
    reason, _, place = str(error).partition(" - at `$")
    path: tuple[str | int, ...] = tuple(
        int(index) if index else name for name, index in re.findall(r"\.([^.\[`]+)|\[(\d+)\]", place)
    )
    if unknown := re.fullmatch(r"Object contains unknown field `(.*)`", reason, re.DOTALL):
        path = (*path, unknown[1])
        reason = "is not a known key; remove it, or correct its spelling"
    elif reason.startswith("Expected `"):
        reason = f"has the wrong type: e{reason[1:]}"
    line = next((lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in lines), None)
    return _bad_folder(file, line, f"{_dotted(path)} {reason}")


def _dotted(path: tuple[str | int, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def _bad_folder(file: Path, line: int | None, reason: str) -> BadFolder:
    place = f": line {line}" if line else ""
    return BadFolder(f"{file}{place}: {reason}", FILE_NAME, line, reason)


def _error_line(error: yaml.MarkedYAMLError) -> int | None:
    mark = error.problem_mark or error.context_mark
    return mark.line + 1 if mark is not None else None


def _error_reason(error: yaml.MarkedYAMLError) -> str:
    return " ".join(filter(None, (error.context, error.problem))) or "it is not YAML"
