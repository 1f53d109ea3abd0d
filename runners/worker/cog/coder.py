"""`Coder`, kept for predictors that import it: as in Cog since 0.18, no prediction uses coders."""

from typing import Any, ClassVar


class Coder:
    """A base class whose subclasses predictors register."""

    _coders: ClassVar[set[type["Coder"]]] = set()

    @staticmethod
    def register(coder: type["Coder"]) -> None:
        """Register a subclass."""
        Coder._coders.add(coder)

    @staticmethod
    def lookup(tpe: Any) -> "Coder | None":
        """Return a coder for the type from the registered subclasses, or None."""
        return next((instance for coder in Coder._coders if (instance := coder.factory(tpe)) is not None), None)

    @staticmethod
    def factory(tpe: Any) -> "Coder | None":
        """Return a coder for the type, or None."""

    def encode(self, x: Any) -> dict[str, Any]:
        """Turn a value into a dict."""
        raise NotImplementedError

    def decode(self, x: dict[str, Any]) -> Any:
        """Turn a dict into a value."""
        raise NotImplementedError
