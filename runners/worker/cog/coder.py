"""`Coder`: a base class that predictors register subclasses of; as in Cog since 0.18, no prediction asks them."""

from typing import Any, ClassVar


class Coder:
    _coders: ClassVar[set[type["Coder"]]] = set()

    @staticmethod
    def register(coder: type["Coder"]) -> None:
        Coder._coders.add(coder)

    @staticmethod
    def lookup(tpe: Any) -> "Coder | None":
        return next((found for coder in Coder._coders if (found := coder.factory(tpe)) is not None), None)

    @staticmethod
    def factory(tpe: Any) -> "Coder | None":
        """A coder for the type, or None."""

    def encode(self, x: Any) -> dict[str, Any]:
        raise NotImplementedError

    def decode(self, x: dict[str, Any]) -> Any:
        raise NotImplementedError
