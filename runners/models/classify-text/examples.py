"""Texts with their labels, out of a file: JSON lines, or CSV with a first line that names the columns."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

LARGEST = 50_000_000  # bytes
FEWEST = 2  # labels


class Example(NamedTuple):
    text: str
    label: str


def read(path: Path) -> list[Example]:
    """Raises `ValueError`, which names the line."""
    if path.stat().st_size > LARGEST:
        raise ValueError(f"examples: the file may have {LARGEST:,} bytes")
    try:
        content = path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("examples: the file is no text in UTF-8") from None
    rows = lines(content) if content.lstrip().startswith("{") else table(content)
    found = [example(number, row) for number, row in rows]
    if len({each.label for each in found}) < FEWEST:
        raise ValueError(
            f"examples: {len(found)} with fewer than {FEWEST} different labels; there is nothing to tell apart"
        )
    return found


def lines(content: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(content.splitlines(), 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"examples: line {number} is no JSON: {error.msg}") from None


def table(content: str) -> Iterator[tuple[int, Any]]:
    reader = csv.DictReader(io.StringIO(content, newline=""))
    for row in reader:
        yield reader.line_num, row


def example(number: int, row: Any) -> Example:
    text, label = (row.get("text"), row.get("label")) if isinstance(row, dict) else (None, None)
    if not isinstance(text, str) or not isinstance(label, str) or not label.strip():
        raise ValueError(f'examples: line {number} needs a text and a label, as in {{"text": "…", "label": "…"}}')
    return Example(text, label.strip())
