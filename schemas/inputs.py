"""What stands in an input, as it is recorded and sent, for what must not or cannot stand there itself.

Both are whole strings, alone or as items of a list. A client's own text may not begin with either.
"""

from typing import Final

from msgspec import Struct, json

SEALED: Final = "samovar-secret:"
"""Followed by base64 of a NaCl sealed box for the installation's public key. Inside: `Secret`, as JSON."""

FILE: Final = "samovar-file:"
"""Followed by a key in the file store: one of our own file URLs, resolved."""

WIPED: Final = "**********"
"""What is shown of a secret, and what is left of it once its prediction has ended."""


class Secret(Struct, frozen=True, array_like=True):
    """Bound to its prediction: a sealed text that somebody copies into another prediction opens nothing."""

    prediction: str
    value: str


decode_secret = json.Decoder(Secret).decode
