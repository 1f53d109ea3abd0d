"""`Annotated[T, Opaque]`: whatever `T` is, the schema says an object, and the value passes through unchanged."""

from typing import Final


class OpaqueMarker:
    """The type of `Opaque`."""

    def __repr__(self) -> str:
        return "cog.Opaque"


Opaque: Final = OpaqueMarker()
