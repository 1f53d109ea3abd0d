"""`Secret`: a text that is not printed by accident."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Secret:
    """A text that prints as asterisks."""

    secret_value: str | None = field(default=None, repr=False)

    def get_secret_value(self) -> str | None:
        """Return the text."""
        return self.secret_value

    def __str__(self) -> str:
        return "" if self.secret_value is None else "**********"

    def __repr__(self) -> str:
        return f"Secret({self})"
