"""What belongs to the prediction that runs: its metrics."""

import re
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, Literal, get_args

Mode = Literal["replace", "incr", "append"]

_NAME: Final = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+){0,3}")
_LONGEST: Final = 128


class Scope:
    def __init__(self) -> None:
        self.metrics: dict[str, Any] = {}
        self.context: dict[str, str] = {}

    def record_metric(self, name: str, value: Any, mode: Mode = "replace") -> None:
        """`None` takes the metric away; otherwise a name keeps the type it began with."""
        _check(name)
        if value is None:
            self.metrics.pop(name, None)
            return
        seen = self.metrics.get(name)
        if mode not in get_args(Mode):
            raise ValueError(f"metric {name}: mode is {mode!r}, and must be replace, incr or append")
        match mode:
            case "replace":
                new = value
            case "incr":
                new = value if seen is None else seen + value
            case "append":
                new = [value] if seen is None else [*seen, value]
        if seen is not None and _kind(seen) != _kind(new):
            raise TypeError(f"metric {name}: was {_kind(seen)} and cannot become {_kind(new)}; delete it first")
        self.metrics[name] = new


_current: Final[ContextVar[Scope]] = ContextVar("scope")


def current_scope() -> Scope:
    """The scope of the prediction that runs; outside of one, a scope that nobody reads."""
    return _current.get(None) or Scope()


@contextmanager
def scoped(scope: Scope) -> Generator[None]:
    token = _current.set(scope)
    try:
        yield
    finally:
        _current.reset(token)


def _check(name: str) -> None:
    if name == "predict_time" or name.split(".")[0] == "cog":
        raise ValueError(f"metric {name}: the name is reserved")
    if len(name) > _LONGEST or not _NAME.fullmatch(name):
        raise ValueError(f"metric {name}: a name is up to four words of letters, digits and _, joined by dots")


def _kind(value: Any) -> str:
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__
