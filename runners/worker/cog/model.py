"""`BaseModel`: an output with named fields."""

from dataclasses import dataclass, is_dataclass
from typing import Any, ClassVar, dataclass_transform


@dataclass_transform()
class BaseModel:
    """The base of outputs with named fields.

    Every subclass is a dataclass, unless it says `auto_dataclass=False` and becomes one by itself.
    """

    _automatic: ClassVar[bool | None] = None

    def __init_subclass__(cls, *, auto_dataclass: bool = True, init: bool = True, **options: Any) -> None:
        super().__init_subclass__()
        first, *others = cls.__bases__
        if not issubclass(first, BaseModel):
            raise TypeError(f"class {cls.__name__}: BaseModel, or a subclass of it, must be its first base class")
        if not auto_dataclass and first._automatic:
            raise ValueError(
                f"class {cls.__name__}: auto_dataclass=False, but its base class {first.__name__} is made a dataclass, "
                "and fields would be lost; say the same of both"
            )
        if mixed := next((base for base in others if is_dataclass(base)), None):
            raise TypeError(f"class {cls.__name__}: the dataclass {mixed.__name__} cannot be mixed into a BaseModel")
        if auto_dataclass:
            dataclass(init=init, **options)(cls)
        cls._automatic = auto_dataclass
