def loud(name: str) -> str:
    return f"utils: {name.upper()}"
