def run(name: str) -> str:
    return f"runners: {name}"
