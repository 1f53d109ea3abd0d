"""The outputs that the campaign's models must return."""

import math
from typing import Any, Final, cast

ITERATORS: Final = frozenset({"samovar/count"})


def find_problem(model: str, input: dict[str, Any], output: Any) -> str | None:
    """Return why this cannot be the whole output of a prediction that succeeded; None if it can."""
    match model:
        case "samovar/count":
            return _check_equal(output, [str(i) for i in range(input["n"])])
        case "samovar/hello-world":
            return _check_equal(output, "hello " + input["text"])
        case "samovar/minilm":
            return _check_unit_vector(output, 384)
        case _:
            return None


def _check_equal(output: Any, expected: Any) -> str | None:
    return None if output == expected else f"expected {_short(expected)}, got {_short(output)}"


def _check_unit_vector(output: Any, size: int) -> str | None:
    numbers = cast(list[object], output) if isinstance(output, list) else []
    floats = [x for x in numbers if isinstance(x, float)]
    if len(numbers) != size or len(floats) != size:
        return f"expected {size} floats, got {_short(output)}"
    norm = math.sqrt(sum(x * x for x in floats))
    return None if abs(norm - 1) < 1e-3 else f"expected norm 1, got {norm:.6f}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:60]}… ({len(text)} characters)"
