"""Examples, that is, texts with their labels, from a file of JSON lines or CSV with a header."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

MAX_BYTES = 50_000_000
MIN_LABELS = 2


class Example(NamedTuple):
    """A text and its label."""

    text: str
    label: str


def read(path: Path) -> list[Example]:
    """Read all examples of a file. Raises `ValueError`, which names the line."""
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"examples: the file may have at most {MAX_BYTES:,} bytes")
    try:
        content = path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("examples: the file is no text in UTF-8") from None
    rows = json_lines(content) if content.lstrip().startswith("{") else csv_rows(content)
    examples = [example(number, row) for number, row in rows]
    if len({each.label for each in examples}) < MIN_LABELS:
        raise ValueError(
            f"examples: {len(examples)} with fewer than {MIN_LABELS} different labels; there is nothing to tell apart"
        )
    return examples


def json_lines(content: str) -> Iterator[tuple[int, Any]]:
    """Yield the number and the value of each line."""
    for number, line in enumerate(content.splitlines(), 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"examples: line {number} is no JSON: {error.msg}") from None


def csv_rows(content: str) -> Iterator[tuple[int, Any]]:
    """Yield the line number and the columns of each row."""
    reader = csv.DictReader(io.StringIO(content, newline=""))
    for row in reader:
        yield reader.line_num, row


def example(number: int, row: Any) -> Example:
    """Return the example in a row. Raises `ValueError`."""
    text, label = (row.get("text"), row.get("label")) if isinstance(row, dict) else (None, None)
    if not isinstance(text, str) or not isinstance(label, str) or not label.strip():
        raise ValueError(f'examples: line {number} needs a text and a label, as in {{"text": "…", "label": "…"}}')
    return Example(text, label.strip())
