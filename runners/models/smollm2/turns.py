"""What has been said so far, as the model's chat template takes it."""

import json
from typing import Any

ROLES = ("system", "user", "assistant")


def turns(system_prompt: str, prompt: str, messages: str | None) -> list[dict[str, str]]:
    """A question, or the conversation that stands in `messages`. Raises `ValueError`."""
    said = [{"role": "user", "content": prompt}] if messages is None else _read(messages)
    first = [{"role": "system", "content": system_prompt}] if system_prompt and said[0]["role"] != "system" else []
    return first + said


def _read(messages: str) -> list[dict[str, str]]:
    try:
        given: Any = json.loads(messages)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"messages: this is not JSON: {error}") from None
    if not isinstance(given, list) or not given:
        raise ValueError("messages: give a list of one message at least")
    return [_turn(each, index) for index, each in enumerate(given)]


def _turn(given: Any, index: int) -> dict[str, str]:
    role, content = (given.get("role"), given.get("content")) if isinstance(given, dict) else (None, None)
    if role not in ROLES or not isinstance(content, str):
        raise ValueError(f"messages[{index}]: give a role, which is one of {', '.join(ROLES)}, and content, a text")
    return {"role": role, "content": content}
