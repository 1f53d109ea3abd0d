def greeting(name: str) -> str:
    return f"schemas: {name}"
