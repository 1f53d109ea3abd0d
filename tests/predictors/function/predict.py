"""A plain function with keyword-only inputs and annotations that are text."""

from __future__ import annotations

from typing import Literal


def shout(text: str, *, times: int = 1, tone: Literal["loud", "soft"] = "loud", mark: str = "!") -> str:
    said = " ".join([text + mark] * times)
    return said.upper() if tone == "loud" else said.lower()
