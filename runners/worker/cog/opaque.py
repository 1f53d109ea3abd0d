"""`Annotated[T, Opaque]`: whatever `T` is, the schema says an object and the value passes through as it came."""

from typing import Final


class OpaqueMarker:
    def __repr__(self) -> str:
        return "cog.Opaque"


Opaque: Final = OpaqueMarker()
