"""Where in a predictor's files something is written."""

import ast
import inspect
from collections.abc import Callable
from pathlib import Path
from types import CodeType
from typing import Any, cast

from msgspec import Struct


class Place(Struct, frozen=True):
    file: str
    """Absolute."""
    line: int


def beneath(method: Callable[..., Any]) -> tuple[Callable[..., Any], bool]:
    """The function that was written, under its decorators, and whether its first parameter is the predictor's own."""
    bound = inspect.ismethod(method)
    function: Any = inspect.unwrap(method.__func__ if bound else method)
    while _takes_anything(function) and (inner := _enclosed(function)) is not None:
        function = inspect.unwrap(inner)
    return function, bound


def of_parameter(function: Callable[..., Any], name: str) -> Place | None:
    """Or of the function, where the parameter cannot be found."""
    code, written = _written(function)
    if code is None or written is None:
        return of(function)
    given = written.args
    everything = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    line = next((arg.lineno for arg in everything if arg is not None and arg.arg == name), written.lineno)
    return Place(code.co_filename, line)


def of_result(function: Callable[..., Any]) -> Place | None:
    code, written = _written(function)
    if code is None or written is None:
        return of(function)
    return Place(code.co_filename, written.lineno if written.returns is None else written.returns.lineno)


def of(thing: Any) -> Place | None:
    """Of a class, a function or a method."""
    try:
        file, (_, line) = inspect.getfile(thing), inspect.getsourcelines(thing)
    except (OSError, TypeError):
        return None
    return Place(file, max(line, 1))


def _written(function: Callable[..., Any]) -> tuple[CodeType | None, ast.FunctionDef | ast.AsyncFunctionDef | None]:
    code = cast("CodeType | None", getattr(function, "__code__", None))
    if code is None:
        return None, None
    try:
        tree = ast.parse(Path(code.co_filename).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return code, None
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == code.co_name:
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            if first == code.co_firstlineno:
                return code, node
    return code, None


def _takes_anything(function: Any) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) for parameter in parameters)


def _enclosed(function: Any) -> Callable[..., Any] | None:
    """The one function that a wrapper holds on to."""
    held = [cell.cell_contents for cell in getattr(function, "__closure__", None) or () if _filled(cell)]
    functions = [thing for thing in held if inspect.isfunction(thing)]
    return functions[0] if len(functions) == 1 else None


def _filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False
