"""A predictor whose output has named fields, with files inside, at any depth."""

import tempfile
from typing import Optional

from cog import BaseModel, BasePredictor, Input, Path


class Page(BaseModel):
    number: int
    file: Path


class Report(BaseModel):
    title: str
    cover: Path
    pages: list[Page]
    note: Optional[str] = None


def write(text: str) -> Path:
    path = Path(tempfile.mkdtemp()) / "page.txt"
    path.write_text(text)
    return path


class Predictor(BasePredictor):
    def predict(self, title: str = Input(), pages: int = Input(default=2, ge=0, le=9)) -> Report:
        content = [Page(number=number, file=write(f"{title} {number}")) for number in range(pages)]
        return Report(title=title, cover=write(title), pages=content)
