"""`BaseModel`: an output with named fields."""

from dataclasses import dataclass
from typing import Any, dataclass_transform


@dataclass_transform()
class BaseModel:
    """Every subclass is a dataclass."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__()
        dataclass(**options)(cls)
