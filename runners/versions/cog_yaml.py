"""What a cog.yaml says, checked; whatever is wrong with it is told with its line."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from msgspec import Struct, ValidationError, convert

from runners.errors import BadFolder

FILE: Final = "cog.yaml"
LARGEST: Final = 1_000_000  # bytes
DEFAULT_REF: Final = "predict.py:Predictor"

_Lines = dict[tuple[str | int, ...], int]


class Step(Struct, frozen=True, forbid_unknown_fields=True):
    """A command of `build.run`, in its long form."""

    command: str
    mounts: list[dict[str, str]] | None = None


class Build(Struct, frozen=True, forbid_unknown_fields=True):
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
    max: int | None = None
    default_target: int | None = None


class CogYaml(Struct, frozen=True, forbid_unknown_fields=True):
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


class Read(Struct, frozen=True):
    """A cog.yaml, and where things stand in it."""

    file: Path
    config: CogYaml
    lines: dict[str, int]
    """By name: `predict`, `build.run[0]`."""

    def bad(self, key: str, reason: str) -> BadFolder:
        """Something is wrong with what stands at `key`."""
        return _bad(self.file, self.lines.get(key), f"{key} {reason}")


def with_environment(text: str, wanted: Mapping[str, str]) -> str:
    """A cog.yaml whose `environment` says this, too; lines stay where they are, if it had none."""
    lines = [f"{name}={value}" for name, value in wanted.items()]
    said: dict[str, Any] = yaml.safe_load(text) or {}
    if not said.get("environment"):
        said.pop("environment", None)
        kept = text if "environment:" not in text else yaml.safe_dump(said, sort_keys=False)
        return kept.rstrip("\n") + "\n" + yaml.safe_dump({"environment": lines}, sort_keys=False)
    others = [line for line in said["environment"] if str(line).partition("=")[0] not in wanted]
    return yaml.safe_dump(said | {"environment": others + lines}, sort_keys=False)


def read(file: Path) -> Read:
    """Raises `BadFolder`."""
    node = _parsed(file)
    if not isinstance(node, yaml.MappingNode):
        raise _bad(file, 1, f'it must hold a mapping, such as predict: "{DEFAULT_REF}"')
    lines = _lines(file, node)
    try:
        value = _Loader("").construct_document(node)
        config = convert(value, CogYaml)
    except yaml.MarkedYAMLError as error:
        raise _bad(file, _line(error), _reason(error)) from error
    except ValidationError as error:
        raise _misplaced(file, lines, error) from None
    except (ValueError, RecursionError) as error:
        raise _bad(file, node.start_mark.line + 1, str(error)) from error
    return _checked(Read(file, config, {_dotted(path): line for path, line in lines.items()}))


class _Loader(yaml.SafeLoader):
    """Numbers with a point stay texts, or python 3.10 would be read as 3.1; dates are none here either."""

    yaml_implicit_resolvers = {  # noqa: RUF012  its base class declares it so
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":float", ":timestamp"))]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        # Merges of merges of merges would grow without bounds.
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(None, None, "merge keys are not taken here", key.start_mark)


def _parsed(file: Path) -> yaml.Node | None:
    try:
        if file.exists() and not file.is_file():
            raise _bad(file, None, "this is no file")
        with file.open("rb") as opened:
            content = opened.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise _bad(file, None, f"it is larger than {LARGEST} bytes")
        return _Loader(content.decode()).get_single_node()
    except FileNotFoundError:
        raise _bad(file, None, "there is no such file; a model's folder needs one") from None
    except yaml.MarkedYAMLError as error:
        raise _bad(file, _line(error), _reason(error)) from error
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise _bad(file, None, " ".join(str(error).split())) from error


def _lines(file: Path, root: yaml.MappingNode) -> _Lines:
    """Of every key and item, three levels deep; a key that stands twice is refused."""
    lines: _Lines = {}

    def visit(path: tuple[str | int, ...], node: yaml.Node) -> None:
        if len(path) > 3:
            return
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                place = (*path, str(key.value))
                line = key.start_mark.line + 1
                if place in lines:
                    raise _bad(file, line, f"{_dotted(place)} stands here a second time")
                lines[place] = line
                visit(place, value)
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                lines[(*path, index)] = item.start_mark.line + 1
                visit((*path, index), item)

    visit((), root)
    return lines


def _checked(read: Read) -> Read:
    """What types cannot say."""
    config = read.config
    for index, line in enumerate(config.environment or []):
        name, equals, _ = line.partition("=")
        if not name or not equals or "\0" in line:
            raise read.bad(f"environment[{index}]", f'{name!r} is not of the form "NAME=value"')
    if config.concurrency is not None and config.concurrency.max is not None and config.concurrency.max < 1:
        raise read.bad("concurrency.max", "must be at least 1")
    build = config.build or Build()
    if build.python_version is not None and not re.fullmatch(r"\d+\.\d+(\.\d+)?", str(build.python_version)):
        raise read.bad("build.python_version", f'must be like "3.11", and is {str(build.python_version)!r}')
    if build.python_packages and build.python_requirements:
        raise read.bad("build.python_packages", "and python_requirements exclude each other; keep the latter")
    return read


def _misplaced(file: Path, lines: _Lines, error: ValidationError) -> BadFolder:
    """msgspec's words, with the name and the line of what they are about."""
    reason, _, place = str(error).partition(" - at `$")
    path: tuple[str | int, ...] = tuple(
        int(index) if index else name for name, index in re.findall(r"\.([^.\[`]+)|\[(\d+)\]", place)
    )
    if unknown := re.fullmatch(r"Object contains unknown field `(.*)`", reason, re.DOTALL):
        path = (*path, unknown[1])
        reason = "is not known here; remove it, or look for a slip of the pen"
    elif reason.startswith("Expected `"):
        reason = f"is of the wrong type: e{reason[1:]}"
    line = next((lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in lines), None)
    return _bad(file, line, f"{_dotted(path)} {reason}")


def _dotted(path: tuple[str | int, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def _bad(file: Path, line: int | None, reason: str) -> BadFolder:
    place = f": line {line}" if line else ""
    return BadFolder(f"{file}{place}: {reason}", FILE, line, reason)


def _line(error: yaml.MarkedYAMLError) -> int | None:
    mark = error.problem_mark or error.context_mark
    return mark.line + 1 if mark is not None else None


def _reason(error: yaml.MarkedYAMLError) -> str:
    return " ".join(filter(None, (error.context, error.problem))) or "it is not YAML"
