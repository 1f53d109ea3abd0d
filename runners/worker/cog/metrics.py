"""The metrics of a prediction: their names, their types, and how they add up."""

import re
from collections.abc import ItemsView
from math import isfinite
from typing import Any, Final, Literal, cast

Mode = Literal["replace", "incr", "increment", "append"]

_MODES: Final = {None: "replace", "replace": "replace", "incr": "incr", "increment": "incr", "append": "append"}
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*")
_MAX_WORDS: Final = 4
_MAX_NAME: Final = 128  # characters
_INT64_BOUND: Final = 1 << 63


class Metrics:
    """Metrics by name; dots in a name nest them. A name keeps the type that it began with until it is deleted."""

    def __init__(self) -> None:
        self._kinds: dict[str, str] = {}
        self._tree: dict[str, Any] = {}

    def record(self, key: str, value: Any, mode: Mode | None = None) -> None:
        """Record a value. The mode `incr` adds to a number, `append` makes a list.

        Raises `ValueError` for a bad name, `TypeError` for anything else.
        """
        operation = _operation(mode)
        _check_name(key)
        kind = _kind(key, value)
        if self._kinds.get(key, kind) != kind:
            raise TypeError(f"metric {key}: was {self._kinds[key]} and cannot become {kind}; delete it first")
        if operation == "incr" and kind not in ("int", "float"):
            raise TypeError(f"metric {key}: incr needs an int or a float, and got {kind}")
        plain = _to_plain(key, value)
        self._kinds[key] = kind
        self._put(key.split("."), plain, operation)

    def delete(self, key: str) -> None:
        """Remove a metric, if it is there."""
        self._kinds.pop(key, None)
        _remove(self._tree, key.split("."))

    def items(self) -> ItemsView[str, Any]:
        """Return the metrics as they are reported: nested."""
        return self._tree.items()

    def __getitem__(self, key: str) -> Any:
        value: Any = self._tree
        for word in key.split("."):
            if not isinstance(value, dict) or word not in value:
                raise KeyError(key)
            value = cast("dict[str, Any]", value)[word]
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        if value is None:
            self.delete(key)
        else:
            self.record(key, value)

    def __delitem__(self, key: str) -> None:
        self.delete(key)

    def __contains__(self, key: str) -> bool:
        try:
            self[key]
        except KeyError:
            return False
        return True

    def __repr__(self) -> str:
        return f"Metrics({self._tree!r})"

    def _put(self, words: list[str], value: Any, operation: str) -> None:
        if value is None and operation != "append":  # a number that JSON has no word for
            _remove(self._tree, words)
            return
        inner = _ensure_dict(self._tree, words[:-1])
        last = words[-1]
        old = inner.get(last)
        match operation:
            case "append" if isinstance(old, list):
                cast("list[Any]", old).append(value)
            case "append":
                inner[last] = [value] if old is None else [old, value]
            case "incr" if isinstance(old, int | float):
                inner[last] = _int_or_float(old + cast("float", value))
            case "incr" if old is not None:
                return  # a list by now: there is nothing to add to
            case _:
                inner[last] = value


class DiscardedMetrics(Metrics):
    """Metrics recorded outside of a prediction: nobody reads them."""

    def record(self, key: str, value: Any, mode: Mode | None = None) -> None:
        """Check the mode and discard the value."""
        _operation(mode)

    def delete(self, key: str) -> None:
        """Do nothing: there is no metric."""
        return


def _operation(mode: str | None) -> str:
    if mode not in _MODES:
        raise TypeError(f"a metric's mode is {mode!r}, but it must be replace, incr or append")
    return _MODES[mode]


def _check_name(key: Any) -> None:
    if not isinstance(key, str):
        raise TypeError(f"a metric's name is a str, and this is a {type(key).__name__}")
    if key == "predict_time" or key.startswith("cog."):
        raise ValueError(f"metric {key}: the name is reserved")
    words = key.split(".")
    if len(key) > _MAX_NAME or len(words) > _MAX_WORDS or not all(map(_WORD.fullmatch, words)):
        raise ValueError(
            f"metric {key!r}: a name is up to {_MAX_WORDS} words joined by dots, of at most {_MAX_NAME} characters; a "
            "word begins with a letter, and has letters, digits and single underscores between them"
        )


def _kind(key: str, value: Any) -> str:
    for kind in (bool, int, float, str, list, dict):  # a bool is an int too
        if isinstance(value, kind):
            return kind.__name__
    raise TypeError(f"metric {key}: a {type(value).__name__} is no bool, int, float, str, list or dict; make it one")


def _to_plain(key: str, value: Any) -> Any:
    """Return a copy, of plain types."""
    match value:
        case None:
            return None
        case bool():
            return bool(value)
        case int():
            return _int_or_float(int(value))
        case float():
            return float(value) if isfinite(value) else None
        case str():
            return str(value)
        case list():
            return [_to_plain(key, item) for item in cast("list[Any]", value)]
        case dict():
            return {_check_key(key, name): _to_plain(key, item) for name, item in cast("dict[Any, Any]", value).items()}
        case _:
            raise TypeError(f"metric {key}: a {type(value).__name__} in it cannot be sent as JSON")


def _check_key(key: str, name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"metric {key}: the keys of a dict must be str, and {name!r} is not")
    return name


def _int_or_float(number: float) -> float:
    """Return the number, as a float if 64 bits do not hold it."""
    return number if isinstance(number, float) or -_INT64_BOUND <= number < _INT64_BOUND else float(number)


def _ensure_dict(tree: dict[str, Any], words: list[str]) -> dict[str, Any]:
    """Return the dict at a place in the tree; what stands in its way is replaced."""
    for word in words:
        if not isinstance(tree.get(word), dict):
            tree[word] = {}
        tree = tree[word]
    return tree


def _remove(tree: Any, words: list[str]) -> None:
    for word in words[:-1]:
        tree = cast("dict[str, Any]", tree).get(word) if isinstance(tree, dict) else None
    if isinstance(tree, dict):
        cast("dict[str, Any]", tree).pop(words[-1], None)
