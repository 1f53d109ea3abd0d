"""The turns of a conversation, as the model's chat template takes them."""

import json
from typing import Any

ROLES = ("system", "user", "assistant")


def turns(system_prompt: str, prompt: str, messages: str | None) -> list[dict[str, str]]:
    """Return the turns of a prompt, or of the conversation in `messages`. Raises `ValueError`."""
    conversation = [{"role": "user", "content": prompt}] if messages is None else _read(messages)
    if system_prompt and conversation[0]["role"] != "system":
        return [{"role": "system", "content": system_prompt}, *conversation]
    return conversation


def _read(messages: str) -> list[dict[str, str]]:
    try:
        conversation: Any = json.loads(messages)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"messages: this is not JSON: {error}") from None
    if not isinstance(conversation, list) or not conversation:
        raise ValueError("messages: give a list of one message at least")
    return [_turn(each, index) for index, each in enumerate(conversation)]


def _turn(message: Any, index: int) -> dict[str, str]:
    role, content = (message.get("role"), message.get("content")) if isinstance(message, dict) else (None, None)
    if role not in ROLES or not isinstance(content, str):
        raise ValueError(f"messages[{index}]: give a role, which is one of {', '.join(ROLES)}, and content, a text")
    return {"role": role, "content": content}
