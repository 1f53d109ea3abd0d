def opened(name: str) -> str:
    return f"gateway: {name}"
