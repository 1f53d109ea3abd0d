"""The lines of a predictor's files where its functions and their parameters are written."""

import ast
import inspect
from collections.abc import Callable
from pathlib import Path
from types import CodeType
from typing import Any, cast

from ..errors import SourceLine


def unwrap(method: Callable[..., Any]) -> tuple[Callable[..., Any], bool]:
    """Return the function under all decorators, and whether its first parameter is the predictor itself."""
    bound = inspect.ismethod(method)
    function: Any = inspect.unwrap(method.__func__ if bound else method)
    while _takes_any_arguments(function) and (inner := _wrapped_function(function)) is not None:
        function = inspect.unwrap(inner)
    return function, bound


def line_of_parameter(function: Callable[..., Any], name: str) -> SourceLine | None:
    """Return the line of a parameter, or of the function if the parameter cannot be found."""
    code, definition = _definition(function)
    if code is None or definition is None:
        return line_of(function)
    arguments = definition.args
    candidates = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    line = next((arg.lineno for arg in candidates if arg is not None and arg.arg == name), definition.lineno)
    return SourceLine(code.co_filename, line)


def line_of_result(function: Callable[..., Any]) -> SourceLine | None:
    """Return the line of the return annotation, or of the function if it has none."""
    code, definition = _definition(function)
    if code is None or definition is None:
        return line_of(function)
    return SourceLine(code.co_filename, definition.lineno if definition.returns is None else definition.returns.lineno)


def line_of(definition: Any) -> SourceLine | None:
    """Return the line of a class, a function or a method; None if its source is not there."""
    try:
        file, (_, line) = inspect.getfile(definition), inspect.getsourcelines(definition)
    except (OSError, TypeError):
        return None
    return SourceLine(file, max(line, 1))


def _definition(function: Callable[..., Any]) -> tuple[CodeType | None, ast.FunctionDef | ast.AsyncFunctionDef | None]:
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


def _takes_any_arguments(function: Any) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) for parameter in parameters)


def _wrapped_function(function: Any) -> Callable[..., Any] | None:
    """Return the one function that a wrapper's closure holds, or None."""
    contents = [cell.cell_contents for cell in getattr(function, "__closure__", None) or () if _is_filled(cell)]
    functions = [content for content in contents if inspect.isfunction(content)]
    return functions[0] if len(functions) == 1 else None


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False
